"""Log-linear Gated DeltaNet."""

from typing import Any

from torch import Tensor

from kernels import log_linear_attention, log_linear_attention_step
from search_space.mixers.gated_deltanet import GatedDeltaNet
from search_space.parts.levels import LogLinear


class LogLinearGatedDeltaNet(LogLinear, GatedDeltaNet):
    """Log-linear attention on Gated DeltaNet (2506.04761, section 3.4): the delta rule on several states.

    o_t = K^-1/2 sum_l w_t^l (S_t^l)^T q_t, where S^l is Gated DeltaNet's state over bucket l of the tokens so far: the
    token itself, and buckets of 1, 2, 4, ... tokens before it as the binary form of their number has them. The step of
    a token, a_t (I - b_t k_t k_t^T), is taken in all buckets. The weights of a head are w_t^l = softplus(L_l * (W_l
    x_t)), with L one at the start. All else is Gated DeltaNet's, sizes included; the paper's own are heads of 192 x 384
    at a width of 1536.

    Args:
        dims: sizes of the model.
        levels: weights of a head; the last serves all larger buckets, too.
        options: those of `GatedDeltaNet`.

    Raises:
        InputError: a number of levels that is not positive, and as `GatedDeltaNet`.
    """

    source = "Log-Linear Attention (arXiv 2506.04761)"

    bucket_flops = 7

    @staticmethod
    def operator(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, *rest: Any, **options: Any) -> tuple[Tensor, Tensor]:
        """The operator, with the order of gates that the delta rule has."""
        return log_linear_attention(q, k, v, *rest, beta=beta, **options)

    @staticmethod
    def step_operator(
        q: Tensor, k: Tensor, v: Tensor, beta: Tensor, *rest: Any, **options: Any
    ) -> tuple[Tensor, Tensor]:
        """The same for a token."""
        return log_linear_attention_step(q, k, v, *rest, beta=beta, **options)
