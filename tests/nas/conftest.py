import pytest
from click.testing import CliRunner

from nas.cli import main
from tests.conftest import TINY
from tests.tracking.browser import browser

QUIET = ["tracking.enabled=false"]


def nas(*arguments):
    """Runs a command in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def window():
    """A browser's; who asks for it has looked whether there is one."""
    with browser() as found:
        yield found


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "run"
    result = nas("search", "--config", "smoke", "--out", folder, *TINY, *QUIET, "search.trials=18")
    assert result.exit_code == 0, result.output
    return folder
