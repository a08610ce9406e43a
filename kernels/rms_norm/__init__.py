"""Root-mean-square norm of the last dimension, with an optional SiLU gate on its output.

Shapes: D elements are normalised together; "..." is any number of dimensions.
"""

from torch import Tensor
from torch.nn import functional as F

from kernels.backend import check_shapes, from_triton, pick
from kernels.vmap import is_stacked, stackable


def _plain(x: Tensor, weight: Tensor, gate: Tensor | None, eps: float) -> Tensor:
    normal = F.rms_norm(x, weight.shape, weight, eps)
    return normal if gate is None else normal * F.silu(gate)


IMPLEMENTATIONS = {"reference": _plain, "chunked": _plain, "triton": from_triton("rms_norm", "rms_norm")}


def rms_norm(x: Tensor, weight: Tensor, gate: Tensor | None = None, *, eps: float = 1e-5) -> Tensor:
    """y = x / sqrt(mean(x^2) + eps) * weight (1910.07467, eq. 4), times silu(gate) if there is a gate.

    Args:
        x: [..., D].
        weight: [D].
        gate: [..., D].
        eps: keeps a row of zeros finite.

    Returns:
        y [..., D] in the dtype of x.

    Raises:
        ValueError: shapes do not fit.
    """
    check_shapes(weight=(weight, (x.shape[-1],)), gate=(gate, tuple(x.shape)))
    if is_stacked():  # each model has a weight of its own
        return (_unweighted(x, gate, eps) * weight).to(x.dtype)
    return pick(IMPLEMENTATIONS, x)(x, weight, gate, eps)


@stackable(None, x=None, gate=None)
def _unweighted(x: Tensor, gate: Tensor | None, eps: float) -> Tensor:
    return pick(IMPLEMENTATIONS, x)(x, x.new_ones(x.shape[-1]), gate, eps)
