import shutil

import pytest

from nas.cli.pages import _searches
from nas.results.folder import short_names
from search_space.errors import InputError


def test_a_folder_of_searches_stands_for_all_that_can_be_read(finished, tmp_path, capsys):
    for name in ("a", "b", "old"):
        shutil.copytree(finished, tmp_path / "runs" / name)
    (tmp_path / "runs" / "old" / "config.yaml").write_text("version: 0.2.0\n")
    shutil.copytree(finished, tmp_path / "more" / "a")
    found = _searches([tmp_path / "runs", tmp_path / "runs" / "a", tmp_path / "more" / "a"], trust=False)
    paths = [each.path for each in found]
    assert paths == [tmp_path / "runs" / "a", tmp_path / "runs" / "b", tmp_path / "more" / "a"]
    assert short_names(paths) == [str(tmp_path / "runs" / "a"), "b", str(tmp_path / "more" / "a")]
    assert f"{tmp_path / 'runs' / 'old'} is left out: " in capsys.readouterr().err


def test_none_that_can_be_read_is_refused(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("version: 0.2.0\n")
    with pytest.raises(InputError, match="a folder with searches that can be read"):
        _searches([tmp_path], trust=False)
