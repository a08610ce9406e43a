"""Suites that samplers and exporters of your own pass like the built-in ones; they need pytest.

Inherit a contract in a test file. Assertions are shown in full if the test file begins with
`pytest.register_assert_rewrite("nas.testing")` ahead of the import.
"""

from nas.testing.exporters import ExporterContract
from nas.testing.samplers import SamplerContract

__all__ = ["ExporterContract", "SamplerContract"]
