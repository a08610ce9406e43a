"""Layouts in short: `gla*2 attention`, `(gated_deltanet*3 gated_attention)*12`, `sliding_window(window=2048)/none`.

    layout = item+          item = ("(" layout ")" | block) ["*" count]
    block  = part ["/" part]        part = name ["(" option "=" value {"," option "=" value} ")"]

Values are YAML scalars or lists of them; the branches of `parallel` are parts. Options follow their name without a
space: `attention (gla hgrn)*2` is a block and a group.
"""

import re
from collections.abc import Sequence
from typing import Any

from search_space import limits
from search_space.errors import InputError
from search_space.layouts.block import MLP, Block
from search_space.parts.part import BRANCHES, Part
from search_space.plain import parse_yaml

TOKEN = re.compile(r"\s*([A-Za-z_][\w.:]*|-?\d[\w.+-]*|[^\s\w])")


def parse(text: str) -> tuple[Block, ...]:
    """The blocks of a layout in short notation.

    Raises:
        InputError: the text is none; says where, and what could stand there.
    """
    reader = _Reader(text)
    blocks = reader.layout()
    reader.expect("")
    return tuple(blocks)


def short(names: Sequence[str]) -> str:
    """Blocks in short notation, which `parse` reads: repeats as `gla*2` or `(gla*2 attention)*8`, the longest first.

    Args:
        names: of the blocks, layer by layer.
    """
    parts, place = list[str](), 0
    while place < len(names):
        period, count = _longest(names[place:])
        group = names[place : place + period]
        text = group[0] if period == 1 else f"({short(group)})"
        parts.append(f"{text}*{count}" if count > 1 else text)
        place += period * count
    return " ".join(parts)


def _longest(names: Sequence[str]) -> tuple[int, int]:
    """Period and count of the repeats that names begin with and that reach farthest; (1, 1) where there are none."""
    best = 1, 1
    for period in range(1, len(names) // 2 + 1):
        count, group = 1, names[:period]
        while names[period * count : period * (count + 1)] == group:
            count += 1
        if count > 1 and period * count > best[0] * best[1]:
            best = period, count
        if best[0] * best[1] == len(names):
            break
    return best


class _Reader:
    """Reads by recursive descent, one token ahead."""

    def __init__(self, text: str):
        if not isinstance(text, str):
            raise InputError("layout", text, "a layout in short, such as (gla*2 attention)*8")
        if len(text) > limits.YAML_BYTES:
            raise InputError("layout", text, f"at most {limits.YAML_BYTES} characters")
        self.text, self.place, self.depth = text, 0, 0
        self.token = ""
        self.advance()

    def advance(self) -> str:
        """The token that was ahead; the next takes its place, "" at the end."""
        token, match = self.token, TOKEN.match(self.text, self.place)
        self.token = match[1] if match else ""
        self.begin = match.start(1) if match else len(self.text)
        self.place = match.end() if match else len(self.text)
        return token

    def expect(self, token: str) -> None:
        """Takes one token, which has to be this; "" is the end."""
        if self.token != token:
            raise self.wrong(repr(token) if token else "a block, or the end")
        self.advance()

    def enter(self) -> None:
        """Takes a parenthesis or bracket that opens."""
        self.depth += 1
        if self.depth > limits.YAML_DEPTH:
            raise self.wrong(f"at most {limits.YAML_DEPTH} parentheses and brackets inside one another")
        self.advance()

    def wrong(self, expected: str) -> InputError:
        found = f"{self.token!r} at character {self.begin + 1}" if self.token else "its end"
        return InputError("layout", self.text, f"{expected} in place of {found}")

    def layout(self) -> list[Block]:
        """One or more items."""
        blocks: list[Block] = []
        while not blocks or self.token not in ("", ")"):
            blocks += self.item()
            if len(blocks) > limits.LAYERS:
                raise InputError("layout", self.text, f"at most {limits.LAYERS} layers")
        return blocks

    def item(self) -> list[Block]:
        """A block or a group, repeated."""
        if self.token == "(":
            self.enter()
            blocks = self.layout()
            self.expect(")")
            self.depth -= 1
        else:
            blocks = [self.block()]
        if self.token != "*":
            return blocks
        self.advance()
        count = int(self.token) if self.token.isascii() and self.token.isdecimal() and len(self.token) < 10 else 0
        if not 0 < count * len(blocks) <= limits.LAYERS:
            raise self.wrong(f"a count from 1, for at most {limits.LAYERS} layers,")
        self.advance()
        return blocks * count

    def block(self) -> Block:
        """A mixer, and its channel mixer."""
        mixer = self.part()
        if self.token != "/":
            return Block(mixer, MLP)
        self.advance()
        return Block(mixer, self.part())

    def part(self) -> Part:
        """A name with its options."""
        if not re.match(r"[A-Za-z_]", self.token):
            raise self.wrong("the name of a mixer")
        end = self.begin + len(self.token)
        name, options = self.advance(), {}
        if self.token == "(" and self.begin == end:  # after a space it begins a group
            self.advance()
            while self.token != ")":
                option = self.advance()
                self.expect("=")
                options[option] = self.value(parts=option == BRANCHES)
                if self.token != ")":
                    self.expect(",")
                    if self.token == ")":
                        raise self.wrong("an option")
            self.advance()
        return Part(name, options)

    def value(self, parts: bool) -> Any:
        """A scalar, or a list of scalars or of parts."""
        if self.token == "[":
            self.enter()
            items = []
            while self.token != "]":
                items.append(self.part() if parts else self.value(parts))
                if self.token != "]":
                    self.expect(",")
            self.advance()
            self.depth -= 1
            return items
        if not re.match(r"[\w-]", self.token):
            raise self.wrong("a value")
        return parse_yaml(self.advance(), "layout")
