"""Measures the parts of a model on the device at hand, and whole models against the sums of their parts.

Every part is timed as a stack of several layers with weights of their own, so that one that fits into a cache is read
from memory all the same, as in a model. On a GPU a decode step is captured as a CUDA graph, as servers do: gaps between
launches would hide the work otherwise.

Shapes: B sequences, T tokens, n tokens of context, D model width, V vocabulary.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from search_space.cost.measured import PartTimes
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.model import Layer, Model, build_model
from search_space.parts.base import Below, State
from search_space.parts.below import blank

STACK = 2**30
"""Bytes of a stack of layers, if the model has as many: less is read faster than a model is, out of a cache or by pages
whose addresses are at hand."""


def layer_state(layer: Layer, batch: int, context: int) -> State:
    """The state of a layer after `context` tokens."""
    return {"mixer": layer.mixer.state_after(batch, context)} if layer.mixer is not None else {}


def layer_below(layer: Layer, x: Tensor, tokens: int) -> Below | None:
    """What a layer reads of layers below, so many tokens of it, for an input x [B, T, D] or [B, D]."""
    return blank(layer.mixer, x, tokens) if layer.takes_below else None


class Profiler:
    """Measures at the sizes of a target, on a GPU (bf16) or a CPU (fp32, with torch's threads).

    Args:
        target: sizes.
        device: "cuda" or "cpu".
        seconds: least time to spend on a figure, once warm.
    """

    def __init__(self, target: Target, device: str, seconds: float = 0.7):
        self.target, self.device, self.seconds = target, torch.device(device), seconds
        self.dtype = torch.bfloat16 if device == "cuda" else torch.float32
        if device == "cuda":
            self.memory = torch.cuda.get_device_properties(0).total_memory
        else:
            self.memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def ceilings(self) -> tuple[float, float]:
        """Measured FLOP/s of a large product and bytes/s of a large copy."""
        size = 8192 if self.device.type == "cuda" else 2048
        a, b = (torch.randn(size, size, device=self.device, dtype=self.dtype) for _ in range(2))
        x = torch.zeros(2**28, dtype=torch.uint8, device=self.device)
        y = torch.empty_like(x)
        flops = 2 * size**3 / (1e-3 * self._milliseconds(lambda: torch.mm(a, b)))
        return flops, 2 * x.numel() / (1e-3 * self._milliseconds(lambda: y.copy_(x)))

    @torch.no_grad()
    def part(self, block: Block | None, points: Sequence[tuple[int, int]], prompts: Sequence[int]) -> PartTimes:
        """Times of a mixer or a channel mixer, its norm and residual included.

        Args:
            block: one with that part alone, as the target has it; None means the two ends of a model.
            points: (B, n) of the decode steps.
            prompts: T of the prompts.
        """
        decode: list[list[float]] = []
        prefill: list[list[float]] = []
        states: list[list[float]] = []
        peaks: list[list[float]] = []
        layer = self._build(block)
        stack = [layer]

        def layers(count: int) -> list[Any]:
            stack.extend(self._build(block) for _ in range(len(stack), count))
            return stack[:count]

        weights = sum(p.numel() * p.element_size() for p in layer.parameters())
        remembers = isinstance(layer, Layer) and layer.mixer is not None
        contexts = points if remembers else sorted({(b, 1) for b, _ in points})
        for batch, context in contexts:
            kept = batch * _bytes(layer_state(layer, 1, context)) if remembers else 0
            read = batch * self._read_below(layer, context) if remembers else 0
            copies = self._copies(weights + kept + read)
            if copies:
                decode.append([batch, context, self._decode(layers(copies), batch, context)])
            if batch == points[0][0] and kept:
                states.append([context, kept // batch])
        several = layers(self._copies(weights))
        for tokens in prompts:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated() if self.device.type == "cuda" else 0
            ms = self._milliseconds(self._prompt(several, tokens))
            prefill.append([tokens, ms / len(several)])
            if self.device.type == "cuda":
                peaks.append([tokens, torch.cuda.max_memory_allocated() - before])
        return PartTimes(decode=decode, prefill=prefill, state_bytes=states, peak_bytes=peaks)

    @torch.no_grad()
    def whole(self, layout: Layout, points: Sequence[tuple[int, int]], prompts: Sequence[int]) -> Iterator[float]:
        """Milliseconds of a whole model: of a decode step at each (B, n), then of a prompt of each T.

        Args:
            layout: with options as the target has them.
            points: (B, n) of the decode steps.
            prompts: T of the prompts.
        """
        model: Model = self._placed(lambda: build_model(layout, self.target.sizes))
        for batch, context in points:
            tokens = torch.zeros(batch, dtype=torch.long, device=self.device)
            states: Any = [layer_state(layer, batch, context) for layer in model.layers]  # type: ignore[arg-type]
            yield self._steps(model.step, tokens, states)
            del states
        for length in prompts:
            tokens = torch.zeros(1, length, dtype=torch.long, device=self.device)
            yield self._milliseconds(partial(model.prefill, tokens))

    def _placed(self, build: Callable[[], Any]) -> Any:
        with self.device:
            return build().to(self.dtype).eval()

    def _build(self, block: Block | None) -> Any:
        sizes = self.target.sizes
        return self._placed(lambda: Model((), sizes) if block is None else Layer(block, sizes))

    def _copies(self, size: int) -> int:
        """Layers of `size` bytes that make a stack; 0 if not even one fits in memory."""
        fitting = int(0.6 * self.memory // size)
        return min(fitting, self.target.layers, max(2, -(-STACK // size)))

    def _read_below(self, layer: Layer, context: int) -> int:
        """Bytes of a sequence of `context` tokens that a layer reads of layers below."""
        forms = layer.mixer.reads
        elements = sum(min(context, f.window or context) * f.kv_heads * (f.key_size + f.value_size) for f in forms)
        return elements * self.dtype.itemsize

    def _decode(self, stack: list[Any], batch: int, context: int) -> float:
        if isinstance(stack[0], Model):
            tokens = torch.zeros(batch, dtype=torch.long, device=self.device)
            return self._milliseconds(lambda: [ends.step(tokens, []) for ends in stack], graph=True) / len(stack)
        x = torch.zeros(batch, self.target.width, device=self.device, dtype=self.dtype)
        states = [layer_state(each, batch, context) for each in stack]
        beneath = [layer_below(each, x, context + 1) for each in stack]

        def step(x: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
            new = []
            for each, state, below in zip(stack, states, beneath, strict=True):
                x, state = each.step(x, state, below)
                new.append(state)
            return x, new

        return self._steps(step, x, states) / len(stack)

    def _steps(self, step: Callable, x: Tensor, states: list[State]) -> float:
        """Milliseconds of a step; each goes on from the one before, so that caches grow as they do in use."""
        held = [states]

        def once() -> None:
            _, held[0] = step(x, held[0])

        return self._milliseconds(once, graph=True)

    def _prompt(self, stack: list[Any], tokens: int) -> Callable[[], Any]:
        if isinstance(stack[0], Model):
            ids = torch.zeros(1, tokens, dtype=torch.long, device=self.device)
            return lambda: [ends.prefill(ids) for ends in stack]
        x = torch.zeros(1, tokens, self.target.width, device=self.device, dtype=self.dtype)
        below = layer_below(stack[0], x, tokens)  # a prompt computes far more than it reads: one serves all

        def run() -> None:
            y = x
            for layer in stack:
                y, _ = layer(y, None, below)

        return run

    def _milliseconds(self, call: Callable[[], Any], graph: bool = False) -> float:
        """Time of a call, once warm: the median on a GPU; on a CPU, where others are at work, the lower quartile."""
        if self.device.type == "cuda":
            return self._gpu_milliseconds(call, graph)
        call()
        times: list[float] = []
        while len(times) < 3 or sum(times) < self.seconds:
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        return 1e3 * sorted(times)[len(times) // 4]

    def _gpu_milliseconds(self, call: Callable[[], Any], graph: bool) -> float:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        if graph:
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                call()
            call = captured.replay
        times: list[float] = []
        while len(times) < 5 or sum(times) < 1e3 * self.seconds:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end))
        return median(times)


def _bytes(state: Mapping[str, Any]) -> int:
    tensors = (x for x in state.values() if isinstance(x, Tensor))
    return sum(x.numel() * x.element_size() for x in tensors) + sum(
        _bytes(x) for x in state.values() if isinstance(x, Mapping)
    )
