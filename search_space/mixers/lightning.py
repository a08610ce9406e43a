"""Lightning attention."""

import torch
from torch import Tensor

from search_space.checks import head_size
from search_space.errors import InputError, one_of
from search_space.parts.base import Dims
from search_space.parts.matrix_state import MatrixStateMixer

SLOPES = ["minimax", "tnl"]


class Lightning(MatrixStateMixer):
    """Lightning attention as in MiniMax-01 (2501.08313, section 2.2): fixed decay, faster in early layers.

    S_t = e^(-s_h) S_{t-1} + k_t v_t^T and o_t = S_t^T q_t, without the factor K^-1/2, on q, k and v through SiLU,
    without positions. One RMS norm over all heads and a sigmoid gate follow. In layer l of L

        minimax: s_h = 2^(-8 (h + 1) / H) (1 - l / (L - 1) + 1e-5), geometric over heads as ALiBi's slopes, almost no
            decay in the last layer: the released weights and configuration.
        tnl: s_h = 8 h / H (1 - l / L), linear over heads, no decay in the first head (TransNormerLLM, 2307.14995,
            equation 9).

    All else is MiniMax's with either slopes. TransNormerLLM differs there: values without SiLU, a gate without
    activation, a norm without gains, rotary positions in the first layer. MiniMax adds layers to a normed residual
    stream with factors of their own; here they are added as the model does it.

    Args:
        dims: sizes of the model, and the place in it.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution over queries, keys and values; 0 means none.
        slopes: minimax or tnl.

    Raises:
        InputError: sizes that are not positive integers or do not divide, or unknown slopes.
    """

    source = "MiniMax-01: Scaling Foundation Models with Lightning Attention (arXiv 2501.08313)"

    query_scale = 1.0
    log_decay: Tensor

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
        slopes: str = "minimax",
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        value_size = head_size("value_size", value_size, heads, dims.width)
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=value_size,
            conv=conv,
            activation=True,
            gated=True,
            norm_size=heads * value_size,
        )
        if slopes not in SLOPES:
            raise InputError("slopes", slopes, one_of(slopes, SLOPES))
        head = torch.arange(heads)
        if slopes == "minimax":
            # The first 1e-5 is the released code's, and lets a model have a single layer.
            slope = 2.0 ** (-8 * (head + 1) / heads) * (1 - dims.layer / (dims.layers - 1 + 1e-5) + 1e-5)
        else:
            slope = 8 * head / heads * (1 - dims.layer / dims.layers)
        self.register_buffer("log_decay", -slope, persistent=False)

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, keys and values as they are, the fixed decay."""
        q, k = qk.chunk(2, -2)
        return q, k, v, self.log_decay

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """One norm, then the gate through a sigmoid."""
        return self.norm(o.flatten(-2)) * gate.sigmoid()
