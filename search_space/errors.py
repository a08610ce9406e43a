"""The one error that a user's input can cause."""

from difflib import get_close_matches
from typing import Any

LONGEST = 200
"""Characters of a value that a message shows."""


class InputError(ValueError):
    """Input that cannot be used: names the key, the value and what was expected.

    The command line prints it as one line and exits with code 2.
    """

    def __init__(self, key: str, value: Any, expected: str):
        self.key, self.value, self.expected = key, value, expected
        super().__init__(key, value, expected)

    def __str__(self) -> str:
        return f"{line(self.key)}={line(self.value)}: expected {line(self.expected, 4 * LONGEST)}"


def line(value: Any, longest: int = LONGEST) -> str:
    """A value as one line of bounded length, without characters that a terminal would obey."""
    try:
        text = str(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"<{type(value).__name__}>"
    text = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)


def one_of(name: str, known: list[str]) -> str:
    """Says which names are known, and which of them `name` may have meant."""
    close = get_close_matches(str(name)[:LONGEST], known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"one of {', '.join(sorted(map(str, known)))}{hint}"
