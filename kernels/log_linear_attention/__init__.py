"""Linear attention, or the delta rule, with as many states as the number of tokens has bits: log-linear mixers.

All pairs of tokens meet at once, and there is no Triton form yet.

Shapes: B sequences, T tokens, H heads in G groups, K key size, V value size, L levels, P buckets.
"""

from collections.abc import Callable

from torch import Tensor

from kernels.backend import check_shapes, pick, state_dtype, to_heads
from kernels.log_linear_attention import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form with what it wants: scaled queries, no None, float32 at least."""

    def run(
        q: Tensor, k: Tensor, v: Tensor, beta: Tensor | None, log_decay: Tensor, weights: Tensor, position: int,
        states: Tensor | None, scale: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        if states is None:
            states = q.new_zeros(q.shape[0], 0, *k.shape[2:], v.shape[-1])
        dtype = state_dtype(q)
        q, k, values, log_decay, weights, states = (x.to(dtype) for x in (q * scale, k, v, log_decay, weights, states))
        beta = None if beta is None else beta.to(dtype)
        o, states = form(q, k, values, beta, log_decay, weights, position, states)
        return o.to(v.dtype), states

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.log_linear_attention),
    "chunked": _plain(chunked.log_linear_attention),
    "triton": _plain(chunked.log_linear_attention),
}


@stackable()
def log_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    weights: Tensor,
    position: int,
    *,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """o_t = scale sum_l w_t^l q_t^T S_t^l, where S_t^l is linear attention over bucket l of the tokens (2506.04761).

    Bucket 0 is the token itself; the tokens before it are cut into buckets of powers of two as the binary form of their
    number has them (a Fenwick tree), small ones near.

    Args:
        q: [B, T, G, K]; the heads of a group share queries and keys.
        k: [B, T, G, K].
        v: [B, T, H, V].
        log_decay: log a_t [B, T, H], at most 0, of the states in all buckets.
        weights: w_t^l [B, T, H, L]; the last serves all higher levels, too.
        position: place of the first token in its sequence.
        beta: b_t [B, T, H] of the delta rule, whose step S <- a_t (I - b_t k_t k_t^T) S every bucket takes, while b_t
            k_t v_t^T enters bucket 0; None: linear attention, without that.
        scale: K^-0.5 by default.
        initial_state: buckets of the tokens before, [B, P, H, K, V] where P is the number of bits of `position`;
            number p holds 2^p tokens, or zeros where that bit is not set.

    Returns:
        o [B, T, H, V] in the dtype of v, and the buckets of all tokens so far, float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    q, k = (to_heads(x, v.shape[2]) for x in (q, k))
    batch, length, heads, keys = q.shape
    values = v.shape[-1]
    check_shapes(
        k=(k, (batch, length, heads, keys)),
        v=(v, (batch, length, heads, values)),
        log_decay=(log_decay, (batch, length, heads)),
        weights=(weights, (batch, length, heads, weights.shape[-1])),
        beta=(beta, (batch, length, heads)),
        initial_state=(initial_state, (batch, position.bit_length(), heads, keys, values)),
    )
    scale = keys**-0.5 if scale is None else scale
    return pick(IMPLEMENTATIONS, q)(q, k, v, beta, log_decay, weights, position, initial_state, scale)


def log_linear_attention_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    weights: Tensor,
    position: int,
    state: Tensor,
    *,
    beta: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """A single token: q, k [B, G, K], v [B, H, V], log_decay, beta [B, H], weights [B, H, L] -> o, buckets."""
    q, k, v, log_decay, weights = (x.unsqueeze(1) for x in (q, k, v, log_decay, weights))
    beta = None if beta is None else beta.unsqueeze(1)
    o, state = log_linear_attention(q, k, v, log_decay, weights, position, beta=beta, scale=scale, initial_state=state)
    return o[:, 0], state
