"""What `make calibrate` trains can be built with every preset; nothing is trained here."""

import pytest

from nas.config import load
from nas.config.loading import presets
from nas.search.setup import check_layout
from search_space.layouts.layout import Layout
from tests.benchmarks.calibrate import shown
from tests.benchmarks.named import LADDERS, ladder, layouts


@pytest.mark.parametrize("preset", presets())
def test_layouts_and_ladders_can_be_built(preset):
    config = load(preset, ["training.device=cpu"])
    suite = config.suite()
    rows = [layouts(config), *(row for name in LADDERS for row in ladder(name, config))]
    assert len({case.name for case in rows[0]}) == len({case.layout for case in rows[0]}) == 12
    for case in (case for row in rows for case in row):
        layout = Layout.parse(case.layout)
        assert len(layout.layers) == config.space.layers
        changed = load(preset, ["training.device=cpu", *case.overrides]) if case.overrides else config
        check_layout(changed, suite, Layout(tuple(dict.fromkeys(layout.layers))))


def test_a_window_is_that_of_the_proxy():
    config = load("laptop")
    *windows, full = ladder("window", config)[0]
    seen = [config.scale.layout(Layout.parse(case.layout)).layers[0].mixer.options for case in windows]
    assert [dict(options)["window"] for options in seen] == [4, 8, 16, 32]
    assert set(Layout.parse(full.layout).layers) == set(Layout.parse("attention").layers)


def test_figures_are_short():
    assert shown([0.5, 1.0, -0.25, 10.0, 20.125]) == [".50", "1.00", "-.25", "10.00", "20.12"]
