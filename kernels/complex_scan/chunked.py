"""Sums of complex modes in chunks: within one a convolution with a real filter, between chunks the states of the modes.

With z the decay and turn of a step, w what a mode writes and r how it is read, a chunk of L tokens gives

    y_i = sum_{j <= i} taps_{i - j} x_j + Re sum_n out_i S,    S' = whole S + sum_j into_j x_j,

where taps_k = Re sum_n r w z^k, into_j = w z^{L - 1 - j}, out_i = r z^{i + 1} and whole = z^L are the same for all.

Shapes: B sequences, T tokens, C channels, N modes of a channel, L tokens of a chunk, M chunks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 32


def sums(
    x: Tensor, taps: Tensor, into: Tensor, out: Tensor, whole: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """x [B, M L, C], taps [L, C], complex into, out [L, C, N], whole [C, N], state [B, C, N] -> y like x, state."""
    x = x.to(taps.dtype).unflatten(1, (-1, taps.shape[0]))
    steps = torch.arange(taps.shape[0], device=x.device)
    ages = steps[:, None] - steps
    filters = taps[ages.clamp(min=0)] * (ages >= 0)[..., None]  # [L, L, C]
    within = torch.einsum("ijc,bmjc->bmic", filters, x)
    entering = torch.einsum("jcn,bmjc->bmcn", into, x.to(into.dtype))
    states = []
    for entered in entering.unbind(1):
        states.append(state)
        state = whole * state + entered
    before = torch.einsum("icn,bmcn->bmic", out, torch.stack(states, 1)).real
    return (within + before).flatten(1, 2), state


def complex_scan(
    x: Tensor, write: Tensor, log_decay: Tensor, angle: Tensor, read: Tensor, state: Tensor, *,
    chunk: int = CHUNK, sums: Callable = sums,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """x [B, T, C], write, log_decay, angle [C, N], read [C, N, 2], state [B, C, N, 2] -> y [B, T, C], state.

    Args:
        chunk: tokens of a chunk; what remains is a shorter one.
        sums: those over chunks of one size, as above.
    """
    rate = torch.complex(log_decay, angle)
    memory, output = torch.view_as_complex(state.contiguous()), torch.view_as_complex(read.contiguous())
    whole = x.shape[1] // chunk * chunk
    outputs = []
    for part, size in ((x[:, :whole], chunk), (x[:, whole:], x.shape[1] - whole)):
        if part.shape[1]:
            powers = (rate * torch.arange(size + 1, device=x.device)[:, None, None]).exp()  # [L + 1, C, N]
            taps = (powers[:-1] * (output * write)).sum(-1).real
            y, memory = sums(part, taps, powers[:-1].flip(0) * write, powers[1:] * output, powers[-1], memory)
            outputs.append(y)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1), torch.view_as_real(memory)
