"""Based."""

from search_space.mixers.linear_attention import LinearAttention
from search_space.parts.base import Dims


class Based(LinearAttention):
    """Based (2402.18668, section 4.1): linear attention by the second-order Taylor series of the exponential.

    phi(q) . phi(k) = 1 + z + z^2 / 2 with z = q . k / K^1/2 and keys of 16 elements: 153 features, of which products of
    two elements appear once. Outputs are divided by the sum of weights; there is no decay, gate, norm or position.
    Its partners in the paper are windows of 64 to 128 tokens and `base_conv`.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 64 of the width.
        key_size: of each head.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution (with SiLU) over queries, keys and values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "Simple linear attention language models balance the recall-throughput tradeoff (arXiv 2402.18668)"

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int = 16,
        value_size: int | None = None,
        conv: int = 0,
    ):
        super().__init__(dims, feature_map="taylor", heads=heads, key_size=key_size, value_size=value_size, conv=conv)
