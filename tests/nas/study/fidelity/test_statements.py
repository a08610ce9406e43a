from collections import Counter

import pytest

from nas.study.fidelity.plan import unknown_kinds
from nas.study.fidelity.statements import CHOOSE, COLUMNS, of_group, read_statements
from search_space.errors import InputError
from tests.nas.conftest import nas
from tests.nas.study.fidelity.examples import FEW, csv_of

LINE = "s,mixer,gla*12,hgrn2*12,m,2K,1B,2,1,n,"


def test_the_statements_of_the_package():
    found = read_statements()
    clear = [s for s in found if s.clear]
    assert len(found) == 2825 and len(clear) == 1697 and len({s.source for s in found}) == 16
    assert len({text for s in clear for text in (s.a, s.b)}) == 120
    by_axis = Counter(s.axis for s in clear)
    assert by_axis["mixer"] == 321 and by_axis["count-loss"] == 248 and by_axis["position-loss"] == 113
    expressible = [s for s in clear if not unknown_kinds(s.a) | unknown_kinds(s.b)]
    print(f"{len(expressible)} of {len(clear)} clear statements name only mixers of the catalogue")
    assert len(expressible) >= 1242


def test_the_sources_to_choose_on_and_the_others():
    found = read_statements()
    choose, report = of_group(found, "choose"), of_group(found, "report")
    assert len(choose) + len(report) == len(found) == len(of_group(found, "all"))
    assert {s.source for s in choose} <= {f"arXiv {number}" for number in CHOOSE}
    assert not {s.source for s in choose} & {s.source for s in report}
    with pytest.raises(InputError, match="--group=none"):
        of_group(found, "none")


def test_a_file_is_read(tmp_path):
    first, *_, last = read_statements(csv_of(tmp_path))
    assert (first.a, first.margin, first.second_hand, first.by_loss) == ("gated_deltanet*12", 0.1, False, False)
    assert last.by_loss and last.clear and not last.part
    assert read_statements(csv_of(tmp_path, LINE + "part; depth not given: 24 taken"))[0].part
    assert not read_statements(csv_of(tmp_path, LINE + "a part of it"))[0].part


@pytest.mark.parametrize(
    "row, key",
    [
        ("s,mixer,gla*12,hgrn2*12,m,2K,1B,2,1,n", "columns=10"),
        ("s,speed,gla*12,hgrn2*12,m,2K,1B,2,1,n,", "axis=speed"),
        ("s,mixer,gla**12,hgrn2*12,m,2K,1B,2,1,n,", "a=gla**12"),
        ("s,mixer,gla*12,hgrn2*12 (,m,2K,1B,2,1,n,", "b=hgrn2*12 ("),
        ("s,mixer,gla*12,gla gla*11,m,2K,1B,2,1,n,", "b=gla*12"),
        ("s,mixer,gla*12,hgrn2*12,m,2X,1B,2,1,n,", "context=2X"),
        ("s,mixer,gla*12,hgrn2*12,m,2K,1B,-2,1,n,", "margin=-2"),
        ("s,mixer,gla*12,hgrn2*12,m,2K,1B,2,nan,n,", "noise=nan"),
        ("s,mixer,gla*12,hgrn2*12,m,2K,1B,2,1,maybe,", "second_hand=maybe"),
        (",mixer,gla*12,hgrn2*12,m,2K,1B,2,1,n,", "source="),
        ('s,mixer,"gla*12,hgrn2*12,m,2K,1B,2,1,n,', "unexpected end"),
    ],
)
def test_bad_lines(tmp_path, row, key):
    path = csv_of(tmp_path, f"{LINE}\n{row}")
    result = nas("fidelity", path, "--config", "smoke", "--out", tmp_path / "out")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
    assert f"{path} line 3" in result.stderr and key in result.stderr and "expected" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("header", ["", ",".join(COLUMNS[:-1]), ",".join(reversed(COLUMNS))])
def test_another_header(tmp_path, header):
    result = nas("fidelity", csv_of(tmp_path, FEW, header), "--out", tmp_path / "out")
    assert result.exit_code == 2 and "line 1: header" in result.stderr and result.stderr.count("\n") == 1


def test_no_statements(tmp_path):
    for path, said in ((csv_of(tmp_path, ""), "at least one"), (tmp_path / "none.csv", "can be read")):
        result = nas("fidelity", path, "--out", tmp_path / "out")
        assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1
