"""A mixer that goes wrong when it is trained, for tests; everything else about it is gated linear attention."""

import os
import sys
import time
from pathlib import Path

from search_space.mixers.gla import GatedLinearAttention


class Faulty(GatedLinearAttention):
    """Goes wrong in its forward.

    Args:
        how: exit, system_exit, error, hang, print.
        once: file that is made when it goes wrong; where it is, nothing does. Empty: it always goes wrong.
    """

    def __init__(
        self,
        dims,
        *,
        how: str = "exit",
        once: str = "",
        heads: int = 4,
        key_size: int | None = None,
        value_size: int | None = None,
    ):
        super().__init__(dims, heads=heads, key_size=key_size, value_size=value_size)
        self.how, self.once = how, Path(once) if once else None

    def forward(self, x, state=None):
        if x.device.type != "meta" and not (self.once and self.once.exists()):
            if self.once:
                self.once.touch()
            self.fail()
        return super().forward(x, state)

    def fail(self):
        if self.how == "exit":
            os._exit(3)
        if self.how == "system_exit":
            sys.exit(4)
        if self.how == "error":
            raise ArithmeticError("no such luck")
        if self.how == "print":
            print("printed by a job")
        while self.how == "hang":
            time.sleep(1)
