"""The command line: options, printing and errors. What it does is in the Python front door."""

# They add their commands to the group.
from nas.cli import catalogues, evidence, layouts, pages, reading, running, service, sharing
from nas.cli.group import main

__all__ = ["catalogues", "evidence", "layouts", "main", "pages", "reading", "running", "service", "sharing"]
