"""Checks of numbers, and of the options that mixers share. NaN, infinity and booleans are no numbers."""

from collections.abc import Callable
from math import isfinite
from typing import Any

from search_space.errors import InputError


def positive(option: str, value: Any) -> int:
    """The value, if it is a positive integer.

    Raises:
        InputError: it is not; names the option.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(option, value, "a positive integer")
    return value


def count(option: str, value: Any) -> int:
    """The value, if it is an integer of 0 or more; raises as `positive`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(option, value, "an integer, 0 or more")
    return value


def number(option: str, value: Any, expected: str = "a number") -> float:
    """The value, if it is a finite number.

    Raises:
        InputError: it is not; names the option, and what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InputError(option, value, expected)
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
