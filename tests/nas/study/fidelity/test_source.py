import pytest

from nas.study.fidelity.source import Model, at_run_depth, model_of, parameters_of, parse_context
from search_space.errors import InputError
from search_space.layouts.layout import Layout


@pytest.mark.parametrize(
    "size, parameters, width",
    [
        ("1.3B", 1.3e9, 2048),
        ("340M", 3.4e8, 1024),
        ("145M", 1.45e8, 768),
        ("1B", 1e9, 2048),
        ("800M", 8e8, 1536),
        ("1.7B -> 2B conversion of Qwen3", 1.7e9, 2048),
        ("scale not read", None, 2048),
        ("", None, 2048),
    ],
)
def test_widths(size, parameters, width):
    assert parameters_of(size) == parameters
    assert model_of("one", size, "2K", 24) == Model(24, width, 2048)


def test_contexts():
    assert [parse_context(text) for text in ("2K", "16K", "512", "")] == [2048, 16384, 512, None]
    assert model_of("arXiv 2506.05233", "400M", "", 24).context == 2048, "that source trained on 2K"
    assert model_of("arXiv 2605.22791", "1.3B", "", 24).context == 4096
    for text in ("2M", "0", "two", "-1K", "9" * 30):
        with pytest.raises(InputError, match="context"):
            parse_context(text)


def test_a_model_has_the_sizes_of_its_source():
    target = Model(48, 1024, 2048).target
    assert (target.layers, target.heads, target.mlp_width, target.context) == (48, 16, 2816, 2048)


@pytest.mark.parametrize(
    "published, trained",
    [
        ("gla*24", "gla*12"),
        ("mamba2*48", "mamba2*12"),
        ("mamba2*13", "mamba2*13"),
        ("attention mamba2*10", "attention mamba2*10"),
        ("gla*23 attention", "gla*23 attention"),
        ("(gla*11 attention)*2", "(gla*11 attention)*2"),
        ("(gla*7 attention)*3", "(gla*7 attention)*3"),
        ("(gla*5 attention)*4", "(gla*5 attention)*2"),
        ("(gla*2 attention)*8", "(gla*2 attention)*4"),
        ("mamba2*24 attention mamba2*23", "mamba2*12 attention mamba2*11"),
        ("(mamba2*6 attention mamba2*5)*4", "(mamba2*6 attention mamba2*5)*2"),
        ("gla*3 attention", "gla*18 attention*6"),
    ],
)
def test_depths(published, trained):
    assert str(at_run_depth(Layout.parse(published))) == str(Layout.parse(trained))
