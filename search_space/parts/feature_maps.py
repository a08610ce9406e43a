"""Feature maps of linear attention: phi(q) . phi(k) takes the place of exp(q . k).

Shapes: H heads, K key size, F features; "..." is any number of sequences and tokens.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.parts.nn import unit_length

SHORTEST = 1e-6
"""Length that a vector has at least, where it is divided by that."""


class FeatureMap(nn.Module):
    """phi for queries and keys of all heads.

    Args:
        heads: H.
        size: K.

    Attributes:
        features: F.
    """

    def __init__(self, heads: int, size: int):
        super().__init__()
        self.features = size

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """x [..., H, K] -> [..., H, F]."""
        raise NotImplementedError


class Elementwise(FeatureMap):
    """A function of each element."""

    def __init__(self, heads: int, size: int, function: Callable[[Tensor], Tensor]):
        super().__init__(heads, size)
        self.function = function

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class."""
        return self.function(x)


class Taylor(FeatureMap):
    """Based (2402.18668): phi(q) . phi(k) = 1 + z + z^2 / 2 with z = q . k / K^1/2, without repeated products."""

    def __init__(self, heads: int, size: int):
        super().__init__(heads, size)
        self.size, self.features = size, (size + 1) * (size + 2) // 2

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """[1, x / K^1/4, x_i x_j / K^1/2 for i < j, x_i^2 / (2 K)^1/2]."""
        x = x * self.size**-0.25
        rows, columns = torch.triu_indices(self.size, self.size, 1, device=x.device)
        products = x[..., rows] * x[..., columns]
        return torch.cat([torch.ones_like(x[..., :1]), x, products, x.square() * 0.5**0.5], -1)


class Hedgehog(FeatureMap):
    """Hedgehog (2402.04347): softmax over [2 W x, -2 W x], W the identity at the start."""

    def __init__(self, heads: int, size: int):
        super().__init__(heads, size)
        self.features = 2 * size
        self.maps = HeadMaps(2, heads, size, size)
        self.maps.start_as(torch.eye(size))

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class."""
        x = 2 * self.maps(x, of_keys)
        return torch.cat([x, -x], -1).softmax(-1).to(x.dtype)


class SoftmaxPair(FeatureMap):
    """LoLCATs (2410.10254): softmax(W x) beside softmax(-W x). W starts as He's uniform values for a tensor of all its
    dimensions but the first, as in the released code.

    Args:
        heads: H.
        size: K.
        rows: of W; None means K.
    """

    def __init__(self, heads: int, size: int, rows: int | None = None):
        super().__init__(heads, size)
        rows = rows or size
        self.features = 2 * rows
        self.maps = HeadMaps(2, heads, size, rows)
        bound = (6 / (size * rows)) ** 0.5
        nn.init.uniform_(self.maps.weight, -bound, bound)

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class."""
        x = self.maps(x, of_keys)
        return torch.cat([x.softmax(-1), (-x).softmax(-1)], -1).to(x.dtype)


class ReGLA(FeatureMap):
    """ReGLA (2502.01578): exp(W x - max), scaled to unit variance. The maximum is over a token's features, for keys as
    for queries; the paper's maximum for keys is over all tokens, later ones included."""

    def __init__(self, heads: int, size: int):
        super().__init__(heads, size)
        self.maps = HeadMaps(2, heads, size, size)
        self.scale = 1 / (math.e * math.sqrt(size * (math.e**2 - 1)))

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class."""
        return self.scale**0.5 * _exp(self.maps(x, of_keys))


class NormAware(FeatureMap):
    """NaLaFormer (2506.21137): positive and negative parts side by side, of queries raised to a power by their length.

    phi(q) = (q / |q|)^p of either part with p = 3 (1/2 + tanh |q|), so that long queries look sharply, and phi(k) = k^3
    of either part, as in the released code. That is for images, and adds a convolution of values, a gate and positions
    in two dimensions, which are left out.
    """

    power = 3.0

    def __init__(self, heads: int, size: int):
        super().__init__(heads, size)
        self.features = 2 * size

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class."""
        if of_keys:
            x = x**self.power
            return torch.cat([F.relu(x), F.relu(-x)], -1)
        length = (x.square().sum(-1, keepdim=True) + SHORTEST**2).sqrt()
        x = torch.cat([F.relu(x), F.relu(-x)], -1) / length
        return x ** (self.power * (0.5 + length.tanh()))


class MLPKernel(FeatureMap):
    """A network of two layers with ReLU between and softplus at the end, one for queries and one for keys."""

    def __init__(self, heads: int, size: int):
        super().__init__(heads, size)
        self.first, self.second = HeadMaps(2, heads, size, size), HeadMaps(2, heads, size, size)

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class."""
        return F.softplus(self.second(F.relu(self.first(x, of_keys)), of_keys))


class LogNormal(FeatureMap):
    """Linear log-normal attention (2311.13541): exp(a q) and exp(b k), one a and b a head. Each is divided by the
    largest of its token, which changes the weight of keys: it cannot overflow."""

    def __init__(self, heads: int, size: int):
        super().__init__(heads, size)
        self.slopes = nn.Parameter(torch.ones(2 * heads))

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class."""
        return _exp(x * self.slopes.chunk(2)[of_keys][:, None].to(x.dtype))


class DiJiang(FeatureMap):
    """DiJiang (2403.19928): D exp(T C x) with the matrix C of a discrete cosine transform, fixed quantiles T of the
    normal distribution and learned weights D; divided by the largest of the token, so that it cannot overflow."""

    transform: Tensor

    def __init__(self, heads: int, size: int):
        super().__init__(heads, size)
        places = torch.arange(size)
        cosines = torch.cos(math.pi / size * places[:, None] * (places + 0.5)) * (2 / size) ** 0.5
        cosines = torch.cat([cosines[:1] * 0.5**0.5, cosines[1:]])
        quantiles = torch.special.ndtri((places + 0.5) / size)
        self.register_buffer("transform", (quantiles[:, None] * cosines).T.contiguous(), persistent=False)
        self.log_weight = nn.Parameter(torch.zeros(heads * size))

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class; the weights stay positive."""
        weight = self.log_weight.exp().unflatten(0, x.shape[-2:]).to(x.dtype)
        return weight * _exp(x @ self.transform.to(x.dtype))


class Fourier(FeatureMap):
    """Random Fourier features (RFA, 2103.02143): [sin(W x), cos(W x)] of x of unit length, W normal and fixed; then
    phi(q) . phi(k) is about exp(q . k) times a constant."""

    directions: Tensor

    def __init__(self, heads: int, size: int):
        super().__init__(heads, size)
        self.features = 2 * size
        self.register_buffer("directions", torch.randn(heads, size, size))

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """See the class."""
        x = torch.einsum("...hk,hkf->...hf", unit_length(x), self.directions.to(x.dtype))
        return torch.cat([x.sin(), x.cos()], -1) * (self.features / 2) ** -0.5


class HeadMaps(nn.Module):
    """Matrices of each head, for queries and for keys. Their products count as FLOPs."""

    def __init__(self, kinds: int, heads: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(kinds, heads, inputs, outputs) * inputs**-0.5)

    def start_as(self, matrix: Tensor) -> None:
        """Makes all of them this matrix."""
        self.weight.data.copy_(matrix.expand_as(self.weight))

    def forward(self, x: Tensor, of_keys: bool) -> Tensor:
        """x [..., H, inputs] -> [..., H, outputs]."""
        return torch.einsum("...hk,hkf->...hf", x, self.weight[int(of_keys)])


@dataclass(frozen=True)
class Entry:
    """A feature map by name.

    Args:
        build: from heads and size.
        normalised: whether o is divided by phi(q) . sum phi(k), as phi is not negative; else an RMS norm follows.
    """

    build: Callable[[int, int], Any]
    normalised: bool


def _exp(x: Tensor) -> Tensor:
    """exp(x), divided by the largest of its last dimension."""
    return (x - x.amax(-1, keepdim=True).detach()).exp()


FEATURE_MAPS = {
    "elu": Entry(lambda heads, size: Elementwise(heads, size, lambda x: F.elu(x) + 1), True),
    "relu": Entry(lambda heads, size: Elementwise(heads, size, F.relu), True),
    "silu": Entry(lambda heads, size: Elementwise(heads, size, F.silu), False),
    "cosine": Entry(lambda heads, size: Elementwise(heads, size, unit_length), False),
    "taylor": Entry(Taylor, True),
    "hedgehog": Entry(Hedgehog, True),
    "log_normal": Entry(LogNormal, True),
    "dijiang": Entry(DiJiang, True),
    "mlp": Entry(MLPKernel, True),
    "regla": Entry(ReGLA, False),
    "fourier": Entry(Fourier, False),
    "norm_aware": Entry(NormAware, True),
}
"""Sources: elu 2006.16236; relu 2103.13076; silu 2406.16690 (cosFormer2); cosine 2409.18747; others in their class."""
