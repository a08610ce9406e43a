"""Sums of complex modes in chunks: within one a convolution with a real filter, between chunks the states of the modes.

Shapes: B sequences, T tokens, C channels, N modes of a channel, L tokens of a chunk, M chunks.
"""

import torch
from torch import Tensor

CHUNK = 32


def complex_scan(
    x: Tensor, write: Tensor, log_decay: Tensor, angle: Tensor, read: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """x [B, T, C], write, log_decay, angle [C, N], read [C, N, 2], state [B, C, N, 2] -> y [B, T, C], state."""
    rate = torch.complex(log_decay, angle)
    memory, output = torch.view_as_complex(state.contiguous()), torch.view_as_complex(read.contiguous())
    whole = x.shape[1] // CHUNK * CHUNK
    outputs = []
    for part, size in ((x[:, :whole], CHUNK), (x[:, whole:], x.shape[1] - whole)):
        if part.shape[1]:
            y, memory = _chunks(part.unflatten(1, (-1, size)), write, rate, output, memory)
            outputs.append(y)
    return torch.cat(outputs, 1), torch.view_as_real(memory)


def _chunks(x: Tensor, write: Tensor, rate: Tensor, read: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """x [B, M, L, C], write and complex rate and read [C, N], complex state [B, C, N] -> y [B, M L, C], state."""
    size = x.shape[2]
    steps = torch.arange(size + 1, device=x.device)
    powers = (rate * steps[:, None, None]).exp()  # [L + 1, C, N]
    taps = (powers[:-1] * (read * write)).sum(-1).real  # [L, C]
    ages = steps[:-1, None] - steps[:-1]
    filters = taps[ages.clamp(min=0)] * (ages >= 0)[..., None]  # [L, L, C]
    within = torch.einsum("ijc,bmjc->bmic", filters, x)
    entering = torch.einsum("jcn,bmjc->bmcn", powers[:-1].flip(0) * write, x.to(powers.dtype))
    states = []
    for entered in entering.unbind(1):
        states.append(state)
        state = powers[-1] * state + entered
    before = torch.einsum("icn,bmcn->bmic", powers[1:] * read, torch.stack(states, 1)).real
    return (within + before).flatten(1, 2), state
