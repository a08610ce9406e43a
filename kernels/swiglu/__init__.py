"""The product in the middle of a SwiGLU feed-forward layer.

Shapes: F inner size; "..." is any number of dimensions.
"""

from torch import Tensor
from torch.nn import functional

from kernels.backend import from_triton, pick
from kernels.vmap import stackable


def _plain(x: Tensor) -> Tensor:
    gate, value = x.chunk(2, -1)
    return functional.silu(gate) * value


IMPLEMENTATIONS = {"reference": _plain, "chunked": _plain, "triton": from_triton("swiglu", "swiglu")}


@stackable(None, x=None)
def swiglu(x: Tensor) -> Tensor:
    """silu(gate) * value (2002.05202, eq. 6), where gate and value are the halves of x.

    Args:
        x: [..., 2 F].

    Returns:
        [..., F].

    Raises:
        ValueError: x has no halves.
    """
    if x.shape[-1] % 2:
        raise ValueError(f"x has {x.shape[-1]} elements: expected an even number")
    return pick(IMPLEMENTATIONS, x)(x)
