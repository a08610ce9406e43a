"""The one error that a user's input can cause."""

from difflib import get_close_matches
from typing import Any


class InputError(ValueError):
    """Input that cannot be used: names the key, the value and what was expected.

    The command line prints it as one line and exits with code 2.
    """

    def __init__(self, key: str, value: Any, expected: str):
        self.key, self.value, self.expected = key, value, expected
        super().__init__(key, value, expected)

    def __str__(self) -> str:
        return f"{self.key}={self.value}: expected {self.expected}"


def one_of(name: str, known: list[str]) -> str:
    """Says which names are known, and which of them `name` may have meant."""
    close = get_close_matches(str(name), known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"one of {', '.join(sorted(known))}{hint}"
