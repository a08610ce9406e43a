"""What a layout costs at the target: bytes, FLOPs, and the least time that they can take.

All figures are sums over the parts of the layers (`PartCost`) and the two ends of the model. Times are a roofline of
the whole model, max(bytes / bandwidth, FLOPs / peak), or, where the target has a profile, the sum of its parts'
measured times.

On several devices (`target.devices`) every layer is shared out among them: each holds and computes its share of the
products, states and heads of attention, and their outputs are summed up over all devices once a part (Megatron-LM,
1909.08053, section 3). Caches with fewer heads than devices are kept several times. The sums go around in a ring, and
nothing hides them.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from search_space.cost.measured import ENDS
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.resize import scaled_counts
from search_space.parts.base import Dims, PartCost
from search_space.parts.build import build_channel_mixer, build_mixer
from search_space.parts.costs import FP32_BYTES
from search_space.parts.part import Part
from search_space.parts.shapes import shapes_only

KNOWN = 50_000
"""Parts whose cost is kept: many more than a search has, and few megabytes for a service that runs for months."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model costs at its target, with B sequences of n tokens.

    Args:
        parameters: all parameters of the model.
        kv_bytes: keys and values of a sequence of n tokens, or what else grows with n. They are read at every step, but
            where a mixer selects; those that several layers share are kept once and read by each.
        state_bytes: what a sequence needs whatever its length: recurrent states and the inputs that short
            convolutions keep; read and written at every step.
        decode_flops: FLOPs of a token that follows n others.
        decode_ms: milliseconds of a decode step, in which each of the B sequences gets its next token.
        prefill_flops: FLOPs of a prompt of n tokens, up to its first new token.
        prefill_ms: milliseconds of that, for a single prompt.
        train_flops: FLOPs of training on a sequence of n tokens: three times those of going forward, as each product
            has two more on the way back (2001.08361, section 2.1). Nothing is computed anew.
        train_ms: milliseconds of that. Always a roofline, as profiles hold no way back: its least traffic is the
            weights forth and back, and their gradients.
        memory_bytes: weights, and caches and states of B sequences; on all devices together, copies included.
        fits: whether that fits in their memory.
        largest_batch: sequences of n tokens that fit beside the weights.
    """

    parameters: int
    kv_bytes: int
    state_bytes: int
    decode_flops: float
    decode_ms: float
    prefill_flops: float
    prefill_ms: float
    train_flops: float
    train_ms: float
    memory_bytes: int
    fits: bool
    largest_batch: int

    @property
    def cache_bytes(self) -> int:
        """All that a sequence of n tokens keeps: `kv_bytes` and `state_bytes`."""
        return self.kv_bytes + self.state_bytes


@lru_cache(maxsize=KNOWN)
def mixer_cost(part: Part, dims: Dims, key: str = "mixer") -> PartCost:
    """Cost of a mixer at the given sizes. Built on the meta device: it takes no memory.

    Raises:
        InputError: the mixer cannot be built so; names the option.
    """
    with shapes_only():
        return build_mixer(part, dims, key).cost()


@lru_cache(maxsize=KNOWN)
def channel_mixer_cost(part: Part, dims: Dims, key: str = "mlp") -> PartCost:
    """Cost of a channel mixer, likewise."""
    with shapes_only():
        return build_channel_mixer(part, dims, key).cost()


def block_costs(block: Block, target: Target) -> dict[str, PartCost]:
    """Cost of each part of a block in the target: its name, as a profile has it -> cost."""
    dims, costs = target.sizes.dims(), {}
    if block.mixer:
        mixer = target.part(block.mixer)
        costs[str(mixer)] = mixer_cost(mixer, dims, block.mixer.kind)
    if block.mlp:
        costs[str(block.mlp)] = channel_mixer_cost(block.mlp, dims, block.mlp.kind)
    return costs


def _sums(block: Block, target: Target) -> tuple[float, ...]:
    """What a block adds to a model: parts, parameters, bytes that grow with the context, the same with their copies on
    several devices, those of them that a step reads, bytes that do not grow, those of them that a step leaves alone,
    FLOPs of a step and of a prompt, parameters that a step of the batch leaves unread, and a prompt. The target keeps
    it: a search prices hundreds of layouts for each that it trains."""
    found = target.prices.get(block)
    if found is None:
        parts, n, size = block_costs(block, target).values(), target.context, target.cache_element_bytes
        experts = [each for part in parts for each in part.experts]
        found = target.prices[block] = (
            len(parts),
            sum(p.parameters for p in parts),
            sum(p.cache_bytes(n, size) for p in parts),
            sum(p.cache_bytes(n, size, devices=target.devices) for p in parts),
            sum(p.cache_bytes(n, size, read=True, devices=target.devices) for p in parts),
            sum(p.state_elements * FP32_BYTES + p.conv_elements * size for p in parts),
            sum(p.idle_elements * FP32_BYTES for p in parts),
            sum(p.step_flops(n) for p in parts),
            sum(p.prompt_flops(n) for p in parts),
            sum(e.unused(target.batch) for e in experts),
            sum(e.unused(n) for e in experts),
        )
    return found


def part_counts(layout: Layout, target: Target) -> Counter[str]:
    """How many of each part the layout has at the target's depth, and the two ends once; names as in a profile."""
    counts = Counter({ENDS: 1})
    for block, count in scaled_counts(layout, target.layers, target.resize).items():
        for name in block_costs(block, target):
            counts[name] += count
    return counts


def cost(layout: Layout, target: Target) -> Cost:
    """Cost of `layout`, resized to the target's depth. Whether layers find what they read is `Target.layout`'s to see.

    Raises:
        InputError: a part cannot be built at the target's size.
    """
    n, width, batch = target.context, target.width, target.batch
    totals: list[float] = [0] * 11  # numbers of bytes stay integers, however large
    for block, count in scaled_counts(layout, target.layers, target.resize).items():
        for place, value in enumerate(_sums(block, target)):
            totals[place] += count * value
    parts, own, cached, held, read, kept, left, step_flops, prompt_flops, idle, idle_in_prompt = totals

    head = target.vocabulary * width
    norms = (int(parts) + 1) * width
    parameters = int(own) + norms + (head if target.tied_embeddings else 2 * head)
    weights = parameters * target.weight_bytes
    # A step reads one row of the embedding for each sequence; a tied one it reads whole, as the head.
    unread = 0 if target.tied_embeddings else max(0, target.vocabulary - batch) * width
    step_weights = weights - (unread + idle) * target.weight_bytes
    prompt_weights = weights - idle_in_prompt * target.weight_bytes

    kv, state = int(cached), int(kept)
    memory = weights + batch * (int(held) + state)
    room = target.devices * target.hardware.memory
    decode_flops = 2 * head + step_flops
    # Only the last token of a prompt needs the head.
    prefill_flops = 2 * head + prompt_flops
    train_flops = 3.0 * (2 * n * head + prompt_flops)
    if target.measured is None:
        step_bytes = step_weights + batch * (read + 2 * (state - left))
        decode_ms = _least_ms(target, batch * decode_flops, step_bytes, int(parts) * batch)
        prefill_ms = _least_ms(target, prefill_flops, prompt_weights + held + state, int(parts) * n)
    else:
        decode_ms = target.measured.decode_ms(part_counts(layout, target), batch, n)
        prefill_ms = target.measured.prefill_ms(part_counts(layout, target), n)
    return Cost(
        parameters=parameters,
        kv_bytes=kv,
        state_bytes=state,
        decode_flops=decode_flops,
        decode_ms=decode_ms,
        prefill_flops=prefill_flops,
        prefill_ms=prefill_ms,
        train_flops=train_flops,
        train_ms=_least_ms(target, train_flops, 3 * prompt_weights, 2 * int(parts) * n),
        memory_bytes=memory,
        fits=memory <= room,
        largest_batch=max(0, int((room - weights) // max(1, int(held) + state))),
    )


def _least_ms(target: Target, flops: float, traffic: float, summed: int) -> float:
    """Least milliseconds on the target's devices together.

    Args:
        target: says how many there are.
        flops: of all.
        traffic: bytes of all, each between its own memory and chip.
        summed: vectors as wide as the model that are summed up over them; in a ring, each device sends 2 (N - 1) / N of
            their numbers.
    """
    devices, link = target.devices, target.hardware.link
    alone = target.rates.roofline_ms(flops / devices, traffic / devices)
    if devices == 1 or link is None:
        return alone
    sent = summed * target.width * target.cache_element_bytes * 2 * (devices - 1) / devices
    return alone + 1e3 * sent / link
