import shutil
from pathlib import Path

import pytest

from tracking.store import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """An MLflow database, whose tables take seconds to make."""
    store = Store.locate(tmp_path_factory.mktemp("empty"))
    store.connect()
    return store.database


@pytest.fixture
def folder(tmp_path, empty_database) -> Path:
    """Folder of a search, with characters in its name that a URI would quote."""
    path = tmp_path / "a search, 100% é?"
    path.mkdir()
    shutil.copy(empty_database, path / "mlflow.db")
    return path
