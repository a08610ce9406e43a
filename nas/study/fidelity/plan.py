"""What is to be trained for some statements: every distinct proxy once, whichever statements need it."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from nas.config import Config
from nas.search.setup import check_layout
from nas.study.fidelity.baselines import baselines_of
from nas.study.fidelity.source import CONTEXT, Model, at_run_depth, model_of
from nas.study.fidelity.statements import Statement
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.notation import parse
from search_space.layouts.published import Origin
from search_space.layouts.reading import reads
from search_space.mixers import MIXERS
from search_space.parts.base import Scaling
from search_space.parts.build import mixer_class
from search_space.parts.part import BRANCHES, Part
from search_space.scale import Scale
from workers.suite.suite import Suite

TEXT = "text"
"""The task whose loss decides the statements by loss."""
Side = tuple[str, Model]
"""One side of a statement: the layout as published, in short, and the model that it was published for."""


@dataclass(frozen=True)
class Run:
    """A distinct proxy that is trained.

    Args:
        number: of the run, from 0.
        proxy: the layout with the proxy's options, at the depth that is trained. It alone makes two runs the same.
        layout: the same with the options of its target.
        target: the model of the first statement that needs it, as a target.
        origin: that statement's source and layout.
    """

    number: int
    proxy: Layout
    layout: Layout
    target: Target
    origin: Origin


@dataclass(frozen=True)
class Pair:
    """A statement whose sides can both be trained.

    Args:
        statement: that is judged.
        a: the side that did better.
        b: the other one.
        weight: of the statement among those of its source on its axis.
    """

    statement: Statement
    a: Side
    b: Side
    weight: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What follows from statements and a configuration.

    Args:
        statements: all that were asked for.
        pairs: the clear ones that can be judged.
        runs: side -> what is trained for it; many sides share a run.
        unmapped: layout in short -> why it cannot be trained.
        baselines: side -> {baseline: its value}.
    """

    statements: tuple[Statement, ...]
    pairs: tuple[Pair, ...]
    runs: dict[Side, Run]
    unmapped: dict[str, str]
    baselines: dict[Side, dict[str, float]] = field(default_factory=dict)

    @cached_property
    def distinct(self) -> list[Run]:
        """The runs, the longest first, so that none of them is left to the end when all workers but one are idle."""
        runs = {run.number: run for run in self.runs.values()}
        return sorted(runs.values(), key=lambda run: (-len(run.proxy.layers), run.number))

    @property
    def clear(self) -> int:
        """Statements whose margin reaches their noise."""
        return sum(s.clear for s in self.statements)

    @property
    def same(self) -> int:
        """Pairs that have one and the same proxy on both sides: a tie, however long it is trained."""
        return sum(self.runs[pair.a] is self.runs[pair.b] for pair in self.pairs)

    def unknown_mixers(self) -> Counter[str]:
        """Mixers that the catalogue lacks -> how many clear statements name them."""
        clear = (s for s in self.statements if s.clear)
        return Counter(kind for s in clear for kind in unknown_kinds(s.a) | unknown_kinds(s.b))

    def unmapped_statements(self) -> Counter[str]:
        """Layouts that cannot be trained -> how many clear statements are about them."""
        return Counter(text for s in self.statements if s.clear for text in (s.a, s.b) if text in self.unmapped)


def make_plan(config: Config, suite: Suite, statements: Sequence[Statement]) -> Plan:
    """What is trained for the clear ones of some statements.

    Args:
        config: whose proxy and training are judged; its target plays no part.
        suite: of the configuration.
        statements: that are to be judged, all by recall or all by loss.
    """
    mapping = _Mapping(config, suite)
    sides = [(s, _side(s, s.a), _side(s, s.b)) for s in statements if s.clear]
    mapped = [(s, a, b) for s, a, b in sides if mapping.add(a, s.source) and mapping.add(b, s.source)]
    weights = weigh([s for s, _, _ in mapped])
    return Plan(
        statements=tuple(statements),
        pairs=tuple(Pair(s, a, b, weight) for (s, a, b), weight in zip(mapped, weights, strict=True)),
        runs={side: mapping.runs[side] for _, a, b in mapped for side in (a, b)},
        unmapped=mapping.unmapped,
        baselines={side: baselines_of(*side) for side in dict.fromkeys(s for _, a, b in mapped for s in (a, b))},
    )


def weigh(statements: Sequence[Statement]) -> list[float]:
    """Weights of statements: those on parts of one average weigh as much as one statement, all together.

    They are the ones of one source and axis, on the same two layouts at one size and context, whose note says part.
    """

    def table(s: Statement) -> tuple:
        return s.source, s.axis, frozenset((s.a, s.b)), s.size, s.context

    parts = Counter(table(s) for s in statements if s.part)
    return [1 / parts[table(s)] if s.part else 1.0 for s in statements]


def _side(statement: Statement, text: str) -> Side:
    return text, model_of(statement.source, statement.size, statement.context, len(parse(text)))


class _Mapping:
    """Takes sides of statements to runs, each distinct proxy once."""

    def __init__(self, config: Config, suite: Suite):
        self._config, self._suite = config, suite
        self.runs: dict[Side, Run] = {}
        self.unmapped: dict[str, str] = {}
        self._by_proxy: dict[Layout, Run] = {}
        self._checked: set[Block] = set()
        self._scales: dict[Model, Scale] = {}

    def add(self, side: Side, source: str) -> bool:
        """Whether the side can be trained."""
        text, model = side
        if side not in self.runs and text not in self.unmapped:
            unknown = sorted(unknown_kinds(text))
            try:
                if unknown:
                    raise InputError("mixer", ", ".join(unknown), "one of the catalogue (nas mixers)")
                self.runs[side] = self._run(text, model, source)
            except InputError as error:
                self.unmapped[text] = str(error)
        return text not in self.unmapped

    def _run(self, text: str, model: Model, source: str) -> Run:
        published = Layout.parse(text)
        layout = at_run_depth(published)
        proxy = Layout(tuple(self._block(block, model) for block in layout.layers))
        if proxy not in self._by_proxy:
            for block in dict.fromkeys(layout.layers):
                if block not in self._checked:
                    at_target = replace(self._config, target=model.target)
                    # What reads of layers below is looked at with all that the layout has.
                    kinds = tuple(dict.fromkeys(layout.layers)) if reads(block) else (block,)
                    check_layout(at_target, self._suite, Layout(kinds), len(layout.layers))
                    self._checked.add(block)
            number = len(self._by_proxy)
            self._by_proxy[proxy] = Run(number, proxy, layout, model.target, Origin(source, published))
        return self._by_proxy[proxy]

    def _block(self, block: Block, model: Model) -> Block:
        """The block with the proxy's options. Depth plays no part in the rule of two scales, and the context only
        where there are lengths: most blocks need to be worked out but once for each width."""
        mixer = block.mixer
        lengths = bool(mixer) and (
            BRANCHES in dict(mixer.options) or Scaling.LENGTH in mixer_class(mixer).scaled.values()
        )
        model = replace(model, layers=1, context=model.context if lengths else CONTEXT)
        if model not in self._scales:
            self._scales[model] = Scale(model.target, self._config.proxy, self._config.training.length)
        return _full_window(self._scales[model].block(block), self._config.training.length)


@lru_cache(maxsize=10_000)
def unknown_kinds(text: str) -> frozenset[str]:
    """Mixers of a layout in short that the catalogue lacks; paths to a user's own are none of them."""
    kinds = {block.mixer.kind for block in parse(text) if block.mixer}
    return frozenset(kind for kind in kinds if ":" not in kind).difference(MIXERS.names())


def _full_window(block: Block, length: int) -> Block:
    """The block, or full attention in the place of a window that holds the whole sequence."""
    options = dict(block.mixer.options)
    if block.mixer.kind == "sliding_window" and options["window"] >= length:
        del options["window"]
        return Block(Part("attention", options), block.mlp)
    return block


def runs_of(pairs: Iterable[Pair], plan: Plan, wanted: Callable[[Run, Run, Pair], bool]) -> set[int]:
    """Numbers of the runs on both sides of the pairs that are wanted; pairs of one proxy with itself never are."""
    both = ((plan.runs[pair.a], plan.runs[pair.b], pair) for pair in pairs)
    return {run.number for a, b, pair in both if a is not b and wanted(a, b, pair) for run in (a, b)}
