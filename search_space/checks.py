"""Checks of numbers, and of the options that mixers share.

NaN, infinity and booleans are no numbers, and there are limits to all of them (search_space/limits.py).
"""

from collections.abc import Callable
from typing import Any

from search_space import limits
from search_space.errors import InputError


def positive(option: str, value: Any, most: int = limits.SIZE) -> int:
    """The value, if it is a positive integer, and no larger than `most`.

    Raises:
        InputError: it is not; names the option.
    """
    return _integer(option, value, 1, most, "a positive integer")


def count(option: str, value: Any, most: int = limits.SIZE) -> int:
    """The value, if it is an integer of 0 or more; raises as `positive`."""
    return _integer(option, value, 0, most, "an integer, 0 or more")


def _integer(option: str, value: Any, least: int, most: int, expected: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(option, value, expected)
    if value > most:
        raise InputError(option, value, f"{expected} of at most {most}")
    return value


def number(option: str, value: Any, expected: str = "a number") -> float:
    """The value, if it is a number, and neither larger nor closer to 0 than any that can be meant.

    Raises:
        InputError: it is not; names the option, and what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InputError(option, value, expected)
    if value and not limits.SMALLEST <= abs(value) <= limits.NUMBER:
        raise InputError(option, value, f"{expected}, in size from {limits.SMALLEST:g} to {limits.NUMBER:g}")
    return float(value)


def positive_number(option: str, value: Any) -> float:
    """The value, if it is a finite number above 0; raises as `number`."""
    if number(option, value, "a positive number") <= 0:
        raise InputError(option, value, "a positive number")
    return float(value)


def not_negative(option: str, value: Any) -> float:
    """The value, if it is a finite number of 0 or more; raises as `number`."""
    if number(option, value, "a number, zero or more") < 0:
        raise InputError(option, value, "a number, zero or more")
    return float(value)


def switch(option: str, value: Any) -> bool:
    """The value, if it is true or false.

    Raises:
        InputError: it is not; names the option.
    """
    if not isinstance(value, bool):
        raise InputError(option, value, "true or false")
    return value


def share(option: str, value: Any) -> float:
    """The value, if it is a number in [0, 1); raises as `number`."""
    if not 0 <= number(option, value, "a number in [0, 1)") < 1:
        raise InputError(option, value, "a number in [0, 1)")
    return float(value)


def or_none(check: Callable[[str, Any], Any], option: str, value: Any) -> Any:
    """The value, if it is None or passes the check.

    Raises:
        InputError: as `check` does, with the hint that null will do.
    """
    try:
        return None if value is None else check(option, value)
    except InputError as error:
        raise InputError(error.key, error.value, f"{error.expected} or null") from error


def rotary_base(value: Any, key_size: int) -> float:
    """The value, if keys of this size can be rotated with it as the base of the wavelengths.

    Raises:
        InputError: it is no positive number, or the key size is odd.
    """
    base = positive_number("rope_theta", value)
    if key_size % 2:
        raise InputError("key_size", key_size, "an even number, since pairs are rotated")
    return base


def head_size(option: str, value: int | None, heads: int, width: int) -> int:
    """Size of a head: `value` where it is given, otherwise an equal share of `width`.

    Raises:
        InputError: `value` is no positive integer, or the heads do not divide the width.
    """
    positive("heads", heads)
    if value is not None:
        return positive(option, value)
    if width % heads or width < heads:
        raise InputError("heads", heads, f"a divisor of {width}, unless {option} is given")
    return width // heads
