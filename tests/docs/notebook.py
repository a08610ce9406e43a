"""Runs a notebook in a new folder and keeps its outputs: `python -m tests.docs.notebook docs/notebook.ipynb`."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

SECONDS = 600


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with its outputs of now.

    Raises:
        CellExecutionError: a cell raised something.
    """
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}})
        client.execute(env={**os.environ, "PYTHONWARNINGS": "ignore"})  # of libraries, about the place it runs in
    for cell in notebook.cells:
        cell.metadata = {}  # no times of the run
    notebook.metadata.pop("language_info", None)
    return notebook


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        nbformat.write(executed(page), page)
