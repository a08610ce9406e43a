"""The command line: options, printing and errors. What it does is in the Python front door."""

from nas.cli import catalogues, evidence, reading, running, service  # they add their commands to the group
from nas.cli.group import main

__all__ = ["catalogues", "evidence", "main", "reading", "running", "service"]
