"""SwiGLU."""

from torch import Tensor

from kernels import swiglu
from search_space.parts.mlp import MLP


class SwiGLU(MLP):
    """Feed-forward layer W_2 (silu(W_1 x) * W_3 x) of 2002.05202, without biases."""

    source = "GLU Variants Improve Transformer (arXiv 2002.05202)"

    def activate(self, features: Tensor) -> Tensor:
        """The SiLU of one half, times the other."""
        return swiglu(features)
