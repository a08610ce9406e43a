"""The layouts of the study."""

from search_space.layout import Block, Layout

MIXERS = ("hgrn", "retnet", "gla", "hgrn2", "deltanet", "gated_deltanet")
RATIOS = {"pure": 0, "24:1": 24, "12:1": 12, "6:1": 6, "3:1": 3}
"""Name -> layers in a block that full attention closes (2507.06457, and the models released with it); 0 for none."""
TRANSFORMER = "transformer"


def study_layouts(depth: int) -> list[tuple[Layout, str]]:
    """Layouts with their names, such as "gla 6:1"; ratios that `depth` layers cannot show are left out."""
    ratios = {name: every for name, every in RATIOS.items() if every <= depth}
    found = [
        (_closed_by_attention(mixer, every, depth), f"{mixer} {ratio}")
        for ratio, every in ratios.items()
        for mixer in MIXERS
    ]
    return [*found, (_closed_by_attention("attention", 0, depth), TRANSFORMER)]


def _closed_by_attention(mixer: str, every: int, depth: int) -> Layout:
    attention = [every > 0 and index % every == every - 1 for index in range(depth)]
    return Layout(tuple(Block("attention" if full else mixer) for full in attention))
