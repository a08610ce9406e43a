"""The layouts that a search has begun, and the numbers of their trials."""

from collections.abc import Collection

from search_space.layouts.layout import Layout


class Begun:
    """Layouts in the order in which they were begun, each with the number of its trial."""

    def __init__(self):
        self._numbers: dict[Layout, int] = {}
        self._layouts: list[Layout] = []
        self._used: set[int] = set()
        self._lowest = 0  # there is no free number below it

    def __len__(self) -> int:
        return len(self._layouts)

    def __contains__(self, layout: Layout) -> bool:
        return layout in self._numbers

    def number(self, layout: Layout) -> int:
        """The number of a layout's trial."""
        return self._numbers[layout]

    def begin(self, layout: Layout, number: int) -> None:
        """Takes note of a layout; one that was begun keeps its number."""
        if layout not in self._numbers:
            self._numbers[layout] = number
            self._layouts.append(layout)
            self._used.add(number)

    def first(self, count: int) -> list[Layout]:
        """Those that were begun first; another thread may ask for them."""
        return self._layouts[:count]

    def uses(self, number: int) -> bool:
        """Whether a trial has this number."""
        return number in self._used

    def free(self, reserved: Collection[int] = ()) -> int:
        """The lowest number that is free: a trial that was lost with an earlier session leaves its own to the next."""
        while self._lowest in self._used:
            self._lowest += 1
        number = self._lowest
        while number in self._used or number in reserved:
            number += 1
        return number
