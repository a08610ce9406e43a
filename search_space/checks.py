"""Checks of the options that mixers share."""

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


def number(option: str, value: Any) -> float:
    """The value, if it is a finite number.

    Raises:
        InputError: it is not; names the option.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InputError(option, value, "a number")
    return float(value)


def rotary_base(value: Any, key_size: int) -> float:
    """The value, if keys of this size can be rotated with it as the base of the wavelengths.

    Raises:
        InputError: it is no positive number, or the key size is odd.
    """
    if number("rope_theta", value) <= 0:
        raise InputError("rope_theta", value, "a positive number")
    if key_size % 2:
        raise InputError("key_size", key_size, "an even number, since pairs are rotated")
    return float(value)


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
