"""HGRN2."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from search_space.checks import head_size
from search_space.parts.base import Dims
from search_space.parts.forget_gate import ForgetGate
from search_space.parts.matrix_state import MatrixStateMixer


class HGRN2(MatrixStateMixer):
    """HGRN2 (2404.07904, section 3): a gated recurrence whose state an outer product has widened.

    S_t = diag(f_t) S_{t-1} + (1 - f_t) v_t^T with the forget gate f_t of W x_t: what is forgotten makes the key.
    Queries go through SiLU, the output through one RMS norm over all heads. f_t stays above a lower bound that
    rises from layer to layer; `ForgetGate` says how.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head, the paper's expansion ratio; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution over queries, forget gates and values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "HGRN2: Gated Linear RNNs with State Expansion (arXiv 2404.07904)"

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        key_size = head_size("key_size", key_size, heads, dims.width)
        value_size = head_size("value_size", value_size, heads, dims.width)
        super().__init__(
            dims,
            heads=heads,
            key_size=key_size,
            value_size=value_size,
            conv=conv,
            activation=False,
            gated=False,
            norm_size=heads * value_size,
        )
        self.gate = ForgetGate(heads * key_size)

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, the complement of the forget gates as keys, values, the forget gates as decay."""
        q, forget = qk.chunk(2, -2)
        complement, log_forget = self.gate(forget.flatten(-2))
        shape = (self.heads, self.key_size)
        return F.silu(q), complement.unflatten(-1, shape), v, log_forget.unflatten(-1, shape)

    @classmethod
    def share(cls, mixers: Sequence["HGRN2"]) -> None:
        """One table of lower bounds for all layers."""
        ForgetGate.share([mixer.gate for mixer in mixers])
