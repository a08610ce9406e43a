"""Proposals that are asked for before a place is free, so that no worker waits for one."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from nas.results.records import Proposal
from nas.search.begun import Begun
from nas.search.proposer import Proposer
from search_space.layouts.layout import Layout

Answer = tuple[Layout | None, dict[str, Any]]
"""A layout, None where the space is used up; and what the sampler noted about it."""


@dataclass(frozen=True)
class Tell:
    """What a run of a layout scored, as `Proposer.tell` takes it."""

    layout: Layout
    values: Mapping[str, float] | None


@dataclass
class Ask:
    """A proposal that is asked for.

    Args:
        number: of its trial.
        known: how many runs were on record.
        begun: how many layouts were begun.
        earlier: the answer, where an earlier session had it.
    """

    number: int
    known: int
    begun: int
    earlier: tuple[Layout, dict[str, Any]] | None = None
    answer: "Future[Answer]" = field(default_factory=Future)


class Ahead:
    """Asks a proposer in a thread of its own.

    A proposal follows from its number and from what was told and asked before it was asked for, in that order; not from
    what is told while the proposer works. Until `go_on` is called it only keeps what it is told and asked: so a search
    that is resumed asks its next proposal from where it was asked for the first time.

    Args:
        proposer: that is asked; nobody else may use it.
        begun: layouts that were begun.
    """

    def __init__(self, proposer: Proposer, begun: Begun):
        self._proposer, self._begun = proposer, begun
        self._proposed = list[Layout]()
        self._steps: list[Tell | Ask] = []
        self._asks: deque[Ask] = deque()
        self._thread = ThreadPoolExecutor(1, "ask")
        self._live = self._used_up = False

    def __len__(self) -> int:
        """Proposals that were asked for and not taken."""
        return len(self._asks)

    @property
    def free_number(self) -> int:
        """The lowest number that no trial has, be it begun or only asked for."""
        return self._begun.free([ask.number for ask in self._asks])

    @property
    def ready(self) -> bool:
        """Whether the next one is there."""
        return bool(self._asks) and self._asks[0].answer.done()

    def tell(self, layout: Layout, values: Mapping[str, float] | None) -> None:
        """Has the proposer told, before it is asked for the next time."""
        self._steps.append(Tell(layout, values))

    def ask(self, known: int) -> None:
        """Asks for a proposal with what is known now: so many runs."""
        ask = Ask(self.free_number, known, len(self._begun))
        self._steps.append(ask)
        self._asks.append(ask)
        if self._live:
            self._start()

    def answered(self, layout: Layout, proposal: Proposal) -> None:
        """Takes note of what an earlier session was given for the oldest ask; before `go_on` alone."""
        if not self._asks:
            self.ask(proposal.known)
        self._asks.popleft().earlier = layout, proposal.noted

    def go_on(self) -> None:
        """Begins to ask; a proposal whose number has a trial by now gets another one."""
        for ask in self._asks:
            if self._begun.uses(ask.number):
                ask.number = self.free_number
        self._live = True
        if self._asks:
            self._start()

    def take(self) -> tuple[Layout | None, int, Proposal]:
        """The proposal that was asked for first, None where the space is used up; its number, and what it follows from.

        It is waited for. Raises what the sampler raised.
        """
        ask = self._asks.popleft()
        layout, noted = ask.answer.result()
        return layout, ask.number, Proposal(ask.known, noted)

    def wait(self, timeout: float) -> None:
        """Waits until the next one is there, for so many seconds at most."""
        wait([ask.answer for ask in islice(self._asks, 1)], timeout)

    def close(self) -> None:
        """Asks nothing more."""
        self._thread.shutdown(cancel_futures=True)

    def _start(self) -> None:
        steps, self._steps = self._steps, []
        self._thread.submit(self._do, steps)

    def _do(self, steps: list[Tell | Ask]) -> None:
        asks = [step for step in steps if isinstance(step, Ask) and step.earlier is None]
        try:
            for step in steps:
                if isinstance(step, Tell):
                    self._proposer.tell(step.layout, step.values)
                elif step.earlier is not None:
                    self._proposer.take_note(*step.earlier)
                else:
                    step.answer.set_result(self._answer(step))
        except BaseException as error:  # whoever takes the proposal gets to know it
            for ask in asks:
                if not ask.answer.done():
                    ask.answer.set_exception(error)

    def _answer(self, ask: Ask) -> Answer:
        taken = {*self._begun.first(ask.begun), *self._proposed}
        layout = None if self._used_up else self._proposer.propose(taken, ask.number)
        if layout is None:
            self._used_up = True  # and it stays so: the space does not change, and no layout is given back
            return None, {}
        self._proposed.append(layout)
        return layout, self._proposer.noted(layout)
