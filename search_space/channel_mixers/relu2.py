"""Squared ReLU."""

from torch import Tensor

from search_space.parts.mlp import MLP


class ReLU2(MLP):
    """Feed-forward layer W_2 relu(W_1 x)^2 of 2109.08668 (Primer), without gate and biases, as in Nemotron-H."""

    source = "Primer: Searching for Efficient Transformers for Language Modeling (arXiv 2109.08668)"

    gated = False

    def activate(self, features: Tensor) -> Tensor:
        """The square of what is positive."""
        return features.relu().square()
