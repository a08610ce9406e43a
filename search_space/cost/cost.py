"""What a layout costs at the target: bytes, FLOPs, and the least time that they can take.

Sizes follow from the mixers' own formulas (`MixerCost`). Times are a roofline of the whole model,
max(bytes / bandwidth, FLOPs / peak), or, where the target has a profile, the sum of its layers' measured times.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from search_space.cost.measured import ENDS, MLP
from search_space.cost.target import Target
from search_space.layouts.layout import Block, Layout
from search_space.layouts.resize import scaled_counts
from search_space.mixers import build_mixer
from search_space.mixers.base import Dims, MixerCost

STATE_ELEMENT_BYTES = 4
"""Recurrent state is kept in fp32."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model costs at its target, with B sequences of n tokens.

    Args:
        parameters: all parameters of the model.
        matrix_parameters: those of projection matrices, embeddings and head; norms, short convolutions and
            other vectors are left out.
        kv_bytes: keys and values of a sequence of n tokens; grows with n, read at every step.
        state_bytes: what a sequence needs whatever its length: recurrent states and the inputs that short
            convolutions keep; read and written at every step.
        decode_flops: FLOPs of a token that follows n others.
        decode_ms: milliseconds of a decode step, in which each of the B sequences gets its next token.
        prefill_flops: FLOPs of a prompt of n tokens, up to its first new token.
        prefill_ms: milliseconds of that, for a single prompt.
        memory_bytes: weights, and caches and states of B sequences.
        fits: whether that fits in the memory of the device.
        largest_batch: sequences of n tokens that fit beside the weights.
    """

    parameters: int
    matrix_parameters: int
    kv_bytes: int
    state_bytes: int
    decode_flops: float
    decode_ms: float
    prefill_flops: float
    prefill_ms: float
    memory_bytes: int
    fits: bool
    largest_batch: int

    @property
    def cache_bytes(self) -> int:
        """All that a sequence of n tokens keeps: `kv_bytes` and `state_bytes`."""
        return self.kv_bytes + self.state_bytes


@cache
def mixer_cost(block: Block, dims: Dims) -> MixerCost:
    """Cost of one layer of `block` at the given sizes. Built on the meta device: it takes no memory.

    Raises:
        InputError: the mixer cannot be built so; names the option.
    """
    with torch.device("meta"):
        return build_mixer(block.mixer, dims, dict(block.options), f"target.options.{block.mixer}").cost()


def cost(layout: Layout, target: Target) -> Cost:
    """Cost of `layout`, resized to the target's depth. Only the number of layers of each kind matters.

    Raises:
        InputError: a mixer cannot be built at the target's size.
    """
    n, width = target.context, target.width
    counts = scaled_counts(Counter(layout.layers), target.layers)
    layers = [(mixer_cost(block.updated(target.options), target.dims), count) for block, count in counts.items()]

    def total(of: Callable[[MixerCost], float]) -> float:
        return sum(count * of(mixer) for mixer, count in layers)

    mlp = 3 * width * target.mlp_width
    embedding = target.vocabulary * width
    embeddings = embedding if target.tied_embeddings else 2 * embedding
    layer_matrices = total(lambda m: m.matrix_parameters) + target.layers * mlp
    norms = (2 * target.layers + 1) * width
    parameters = int(total(lambda m: m.parameters)) + target.layers * mlp + norms + embeddings
    weights = parameters * target.weight_bytes

    kv = int(total(lambda m: m.context_elements * _kept(m, n))) * target.cache_element_bytes
    state = int(total(lambda m: m.state_elements * STATE_ELEMENT_BYTES + m.conv_elements * target.cache_element_bytes))
    memory = weights + target.batch * (kv + state)
    decode_flops = 2 * (layer_matrices + embedding) + total(
        lambda m: m.decode_flops + m.decode_flops_per_context * _kept(m, n)
    )
    # Only the last token of a prompt needs the head.
    prefill_flops = 2 * (n * layer_matrices + embedding) + total(
        lambda m: n * m.prefill_flops + m.decode_flops_per_context * _attended(m, n)
    )
    device = target.hardware
    if target.measured is None:
        decode_ms = device.roofline_ms(target.batch * decode_flops, weights + target.batch * (kv + 2 * state))
        prefill_ms = device.roofline_ms(prefill_flops, weights + kv + state)
    else:
        parts = Counter({MLP: target.layers, ENDS: 1})
        for block, count in counts.items():
            parts[str(block.updated(target.options))] += count
        decode_ms = target.measured.decode_ms(parts, target.batch, n)
        prefill_ms = target.measured.prefill_ms(parts, n)
    return Cost(
        parameters=parameters,
        matrix_parameters=int(layer_matrices) + embeddings,
        kv_bytes=kv,
        state_bytes=state,
        decode_flops=decode_flops,
        decode_ms=decode_ms,
        prefill_flops=prefill_flops,
        prefill_ms=prefill_ms,
        memory_bytes=memory,
        fits=memory <= device.memory,
        largest_batch=max(0, int((device.memory - weights) // max(1, kv + state))),
    )


def _kept(mixer: MixerCost, n: int) -> int:
    """Tokens of context that are cached."""
    return n if mixer.window is None else min(n, mixer.window)


def _attended(mixer: MixerCost, n: int) -> int:
    """Tokens that the n tokens of a prompt see, all together: the sum of min(t, window) over t = 1 .. n."""
    kept = _kept(mixer, n)
    return kept * (kept + 1) // 2 + (n - kept) * kept
