"""Measured times of the parts of a model, to be used in place of the roofline.

`nas profile` makes one (workers/profiler.py); `target.profile` names it.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from search_space import limits
from search_space.errors import InputError
from search_space.files import read_text, reason, write_text
from search_space.plain import check_plain

ENDS = "ends"
"""The name of what every model has once: embedding, last norm and head."""


@dataclass(frozen=True, kw_only=True)
class PartTimes:
    """What was measured of one layer of a kind, its norm and residual included.

    Args:
        decode: [B, n, milliseconds] of a decode step of B sequences that hold n tokens.
        prefill: [T, milliseconds] of a prompt of T tokens.
        state_bytes: [n, bytes] that a sequence of n tokens keeps.
        peak_bytes: [T, bytes] beside weights that a prompt of T tokens needed at most; on GPUs only.
    """

    decode: list[list[float]]
    prefill: list[list[float]]
    state_bytes: list[list[float]] = field(default_factory=list)
    peak_bytes: list[list[float]] = field(default_factory=list)

    def faster(self, other: "PartTimes") -> "PartTimes":
        """Of two measurements of the same, the shorter time of each figure."""
        decode = [[b, n, min(x, y)] for (b, n, x), (_, _, y) in zip(self.decode, other.decode, strict=True)]
        prefill = [[t, min(x, y)] for (t, x), (_, y) in zip(self.prefill, other.prefill, strict=True)]
        return replace(self, decode=decode, prefill=prefill)

    def decode_ms(self, batch: int, context: int) -> float:
        """Linear in n and in B between measurements, and beyond them by the last two."""
        batches = sorted({b for b, _, _ in self.decode})
        by_batch = [_line([(n, ms) for b, n, ms in self.decode if b == each], context) for each in batches]
        return _line(list(zip(batches, by_batch, strict=True)), batch)

    def prefill_ms(self, tokens: int) -> float:
        """Its time per token is linear in T between measurements, and beyond them by the last two."""
        return tokens * _line([(length, ms / length) for length, ms in self.prefill], tokens)


def _line(points: Sequence[tuple[float, float]], x: float) -> float:
    """y at x through points (x, y); beyond the last one it never falls, before the first to no less than half of it."""
    points = sorted(points)
    if len(points) == 1:
        return points[0][1]
    after = min(max(bisect_left([p[0] for p in points], x), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[after - 1], points[after]
    slope = (y1 - y0) / (x1 - x0)
    if x > x1:
        return y1 + max(slope, 0.0) * (x - x1)
    y = y0 + slope * (x - x0)
    return max(y, 0.5 * y0) if x < x0 else y


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Times of all parts of models of one size on one device.

    Args:
        about: device, versions, date, command, and how it was measured.
        sizes: of the models: those of `Target` that `SIZES` names.
        flops: measured FLOP/s of a large matrix product.
        bandwidth: measured bytes/s of a large copy.
        parts: str(part) or "ends" -> times.
        check: whole models against the sums over their layers.
    """

    about: dict[str, Any]
    sizes: dict[str, Any]
    flops: float
    bandwidth: float
    parts: dict[str, PartTimes]
    check: list[dict[str, Any]] = field(default_factory=list)

    def decode_ms(self, counts: Mapping[str, int], batch: int, context: int) -> float:
        """Milliseconds of a decode step of a model with so many of each part."""
        return sum(count * self._part(name).decode_ms(batch, context) for name, count in counts.items())

    def prefill_ms(self, counts: Mapping[str, int], tokens: int) -> float:
        """Milliseconds of a prompt, up to its first new token."""
        return sum(count * self._part(name).prefill_ms(tokens) for name, count in counts.items())

    def errors(self, kind: str) -> dict[str, list[float]]:
        """How far "sum" (over the layers) and "roofline" are from each whole model measured, as shares, ascending.

        Args:
            kind: "decode" or "prefill".
        """
        rows = [row for row in self.check if row["kind"] == kind]
        ways = ("sum", "roofline")
        return {way: sorted(abs(row[f"{way}_ms"] / row["measured_ms"] - 1) for row in rows) for way in ways}

    def _part(self, name: str) -> PartTimes:
        if name not in self.parts:
            measured = ", ".join(self.parts)
            raise InputError("target.profile", name, f"a block that was measured ({measured}); `nas profile` adds it")
        return self.parts[name]

    def save(self, path: Path) -> None:
        """Writes it as JSON.

        Raises:
            InputError: the place cannot be written.
        """
        try:
            write_text(path, json.dumps(asdict(self), indent=1) + "\n")
        except (OSError, ValueError) as error:
            raise InputError("-o", path, f"a place that can be written ({reason(error)})") from error


SIZES = ("width", "heads", "kv_heads", "mlp_width", "vocabulary")
"""What of a target the times depend on, beside its blocks."""


@cache
def load_profile(path: str) -> Profile:
    """The profile in a file that `Profile.save` wrote.

    Raises:
        InputError: there is none; the key is "target.profile".
    """
    expected = "a file that `nas profile` wrote"
    try:
        content = json.loads(read_text(path, "target.profile", limits.PROFILE_BYTES))
        check_plain(content, "target.profile")
        parts = {name: PartTimes(**part) for name, part in content.pop("parts").items()}
        profile = Profile(parts=parts, **content)
        _check(profile)
        return profile
    except InputError as error:
        raise InputError("target.profile", path, f"{expected} ({error.expected})") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("target.profile", path, f"{expected} ({reason(error)})") from error


def _check(profile: Profile) -> None:
    """Raises TypeError or ValueError for what `Profile.save` does not write."""
    if not isinstance(profile.about["device"], str) or not isinstance(profile.sizes, dict):
        raise TypeError("no device or sizes")
    if not isinstance(profile.check, list) or min(profile.flops, profile.bandwidth) <= 0:
        raise TypeError("no check or ceilings")
    for name, part in profile.parts.items():
        for rows, columns in ((part.decode, 3), (part.prefill, 2), (part.state_bytes, 2), (part.peak_bytes, 2)):
            if any(len(row) != columns or min(row) < 0 or min(row[:-1]) <= 0 for row in rows):
                raise ValueError(f"times of {name}")
        if not part.decode or not part.prefill:
            raise ValueError(f"no times of {name}")
