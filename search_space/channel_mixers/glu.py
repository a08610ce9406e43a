"""GLU without activation."""

from torch import Tensor

from search_space.parts.mlp import MLP


class GLU(MLP):
    """Feed-forward layer W_2 (W_1 x * W_3 x) without activation or biases: "bilinear" in 2002.05202.

    TransNormerLLM has it (2307.14995, equation 13).
    """

    source = "GLU Variants Improve Transformer (arXiv 2002.05202)"

    def activate(self, features: Tensor) -> Tensor:
        """One half times the other."""
        gate, value = features.chunk(2, -1)
        return gate * value
