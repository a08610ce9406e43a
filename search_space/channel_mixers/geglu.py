"""GeGLU."""

from torch import Tensor
from torch.nn import functional as F

from search_space.parts.mlp import MLP


class GeGLU(MLP):
    """Feed-forward layer W_2 (gelu(W_1 x) * W_3 x) of 2002.05202, without biases.

    GELU is its tanh form, as in Gemma and Griffin; Griffin's biases are left out.
    """

    source = "GLU Variants Improve Transformer (arXiv 2002.05202)"

    def activate(self, features: Tensor) -> Tensor:
        """The GELU of one half, times the other."""
        gate, value = features.chunk(2, -1)
        return F.gelu(gate, approximate="tanh") * value
