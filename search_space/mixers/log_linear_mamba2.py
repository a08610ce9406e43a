"""Log-linear Mamba-2."""

from kernels import log_linear_attention, log_linear_attention_step
from search_space.mixers.mamba2 import Mamba2
from search_space.parts.levels import LogLinear


class LogLinearMamba2(LogLinear, Mamba2):
    """Log-linear attention on Mamba-2 (2506.04761, section 3): a state for every power of two in the number of tokens.

    y_t = sum_l w_t^l (S_t^l)^T C_t + D x_t, where S^l is Mamba-2's state over bucket l of the tokens so far: the token
    itself, and buckets of 1, 2, 4, ... tokens before it as the binary form of their number has them. The weights of a
    head are w_t^l = softplus(L_l * (W_l x_t)), with L one at the start. All else is Mamba-2's.

    Args:
        dims: sizes of the model.
        levels: weights of a head; the last serves all larger buckets, too.
        options: those of `Mamba2`.

    Raises:
        InputError: a number of levels that is not positive, and as `Mamba2`.
    """

    family = "ssm"
    source = "Log-Linear Attention (arXiv 2506.04761)"

    operator = staticmethod(log_linear_attention)
    step_operator = staticmethod(log_linear_attention_step)
    bucket_flops = 3
