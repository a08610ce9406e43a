"""Tiles of a chunk of C tokens in Triton, and how far what one token wrote has decayed until another reads it.

With one decay for all keys that is e^{g_i - g_j}, a factor of the products [C, C] of queries and keys. With decays by
key it stays inside of them, sum_k q_ik k_jk e^{g_ik - g_jk}, and neither e^{g_i} nor e^{-g_j} need have a size that
numbers of a GPU can hold. So pairs are split by level: tokens j < i are of level l if they lie in the two halves of one
block of 2^(l + 1) tokens. With n the last token of the first half,

    e^{g_i - g_j} = F_i F_j,    F_i = e^{g_i - g_n},    F_j = e^{g_n - g_j},

both at most 1, and a level is one product of matrices, F Q by F K, of which its own pairs are taken. The exponents are
summed from level to level over what lies between and nothing else: no small decay is lost beside a strong one, and no
strong one overflows. Six levels take six times the FLOPs of one product, whatever the decays. That is a choice of ours,
for being exact without looking at the decays first; 2312.06635, section 4, has two levels.
"""

import triton
import triton.language as tl

from kernels.chunks import STRONGEST

FLOOR = tl.constexpr(STRONGEST)
LEVELS = tl.constexpr(6)
CHUNK = 2**LEVELS.value
NONE, SCALAR, BY_KEY = (tl.constexpr(i) for i in range(3))


@triton.jit
def load_rows(pointer, row, stride, column, inside, WIDTH: tl.constexpr):
    """A tile of rows whose last dimension is contiguous; 0 outside."""
    mask = inside[:, None] & (column < WIDTH)[None, :]
    return tl.load(pointer + row[:, None] * stride + column[None, :], mask=mask, other=0.0)


@triton.jit
def floored(log_decay):
    """Log decays in float32, no less than FLOOR."""
    log_decay = log_decay.to(tl.float32)
    return tl.where(log_decay < FLOOR, FLOOR, log_decay)  # tl.maximum would hide NaN


@triton.jit
def running_sum(decays):
    """g in float64: 64 tokens of it cost nothing, and its differences keep all digits of float32."""
    return tl.cumsum(decays.to(tl.float64), 0)


@triton.jit
def decay_between(total, position):
    """e^{g_i - g_j} for j <= i, else 1: that difference could be large."""
    past = position[:, None] >= position[None, :]
    difference = (total[:, None] - total[None, :]).to(tl.float32)
    return tl.exp(tl.where(past, difference, 0.0))


@triton.jit
def meet(before, after, position, level):
    """F [C, K] of a level, and sums of log decays for the next one.

    before: from the first token of a block of 2^level tokens to each of its tokens, which is included. after: from the
    next token to the last one of the block. At level 0 they are the log decays and 0; after the last level, g and
    g_C - g.
    """
    size = 1 << level
    second = ((position & size) != 0)[:, None]
    last_of_other = (position ^ size) | (size - 1)
    other = tl.gather(before, tl.broadcast_to(last_of_other[:, None], before.shape), 0)
    decay = tl.exp(tl.where(second, before, after))
    return decay, before + tl.where(second, other, 0.0), after + tl.where(second, 0.0, other)


@triton.jit
def of_level(position, level):
    """Which pairs j < i are of a level [C (i), C (j)]."""
    row, column = position[:, None], position[None, :]
    return (row > column) & (((row ^ column) >> level) == 1)


@triton.jit
def products(query, key, log_decay, position, attended, similar, PRECISION: tl.constexpr):
    """Adds sum_k q_ik k_jk e^{g_ik - g_jk} for j <= i, and sum_k k_ik k_jk e^{g_ik - g_jk} for j < i, to two tiles.

    query, key, log_decay: [C, K]. Returns the tiles [C, C], g and g_C - g.
    """
    dtype = key.dtype
    own = tl.sum(query.to(tl.float32) * key.to(tl.float32), 1)
    attended += tl.where(position[:, None] == position[None, :], own[:, None], 0.0)
    before, after = log_decay, tl.zeros_like(log_decay)
    for level in range(LEVELS):
        decay, before, after = meet(before, after, position, level)
        pairs = of_level(position, level)
        faded = (key * decay).to(dtype)
        attending = tl.dot((query * decay).to(dtype), tl.trans(faded), input_precision=PRECISION)
        attended += tl.where(pairs, attending, 0.0)
        similar += tl.where(pairs, tl.dot(faded, tl.trans(faded), input_precision=PRECISION), 0.0)
    return attended, similar, before, after


@triton.jit
def products_backward(query, key, log_decay, strength, position, d_attended, d_similar, PRECISION: tl.constexpr):
    """Gradients [C, K] of `products`, from those of its two tiles where j < i; row i of the second counts b_i times.

    strength: b [C]. Returns those of q, of k as a reader without b, and of k as what is read; g and g_C - g.
    """
    dtype = key.dtype
    before, after = log_decay, tl.zeros_like(log_decay)
    of_query, of_reader, of_written = tl.zeros_like(before), tl.zeros_like(before), tl.zeros_like(before)
    for level in range(LEVELS):
        decay, before, after = meet(before, after, position, level)
        pairs = of_level(position, level)
        attended, similar = tl.where(pairs, d_attended, 0.0), tl.where(pairs, d_similar, 0.0)
        faded_query, faded = (query * decay).to(dtype), (key * decay).to(dtype)
        strong = (faded * strength[:, None]).to(dtype)
        of_query += decay * tl.dot(attended, faded, input_precision=PRECISION)
        of_reader += decay * tl.dot(similar, faded, input_precision=PRECISION)
        written = tl.dot(tl.trans(attended), faded_query, input_precision=PRECISION)
        written = tl.dot(tl.trans(similar), strong, acc=written, input_precision=PRECISION)
        of_written += decay * written
    return of_query, of_reader, of_written, before, after
