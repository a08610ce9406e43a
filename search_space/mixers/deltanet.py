"""DeltaNet."""

from torch import Tensor

from search_space.checks import head_size, switch
from search_space.parts.base import Dims
from search_space.parts.matrix_state import DeltaRuleMixer
from search_space.parts.nn import unit_length


class DeltaNet(DeltaRuleMixer):
    """DeltaNet (2406.06484): a key's old value is replaced instead of added to.

    S_t = (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T with b_t = sigmoid(W x_t) for each head, queries and
    keys of unit length after a short convolution and SiLU (values as well), and an RMS norm for each head.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of the short convolution over queries, keys and values; 0 means none.
        negative_eigenvalues: whether the writing strength is doubled, so that a step can also turn a part of the state
            around (2411.12537).

    Raises:
        InputError: sizes that are not positive integers or do not divide, or a switch that is none.
    """

    source = "Parallelizing Linear Transformers with the Delta Rule over Sequence Length (arXiv 2406.06484)"

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 4,
        negative_eigenvalues: bool = False,
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=head_size("value_size", value_size, heads, dims.width),
            conv=conv,
            activation=True,
            gated=False,
            extra=heads,
        )
        self.strongest = 2.0 if switch("negative_eigenvalues", negative_eigenvalues) else 1.0

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Unit queries and keys, values, writing strength, no decay."""
        q, k = unit_length(qk).chunk(2, -2)
        return q, k, v, self.strongest * extra.sigmoid(), None
