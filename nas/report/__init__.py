"""A search as one page that needs nothing else: `report_page`."""

from nas.report.page import report_page

__all__ = ["report_page"]
