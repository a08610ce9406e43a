"""Many small systems of equations at once, of which only products with vectors are known.

Shapes: K unknowns of a system; "..." any number of systems.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MANY = 2
"""Steps for each unknown that leave nothing but rounding: in theory one is enough."""
Product = Callable[[Tensor], Tensor]
"""The matrix of each system times a vector of it, [..., K] -> [..., K]; the matrices are symmetric and positive."""


def solve(product: Product, q: Tensor, steps: int) -> Tensor:
    """x with A x = q, by so many steps from zero; its gradient is another solution: dq = A^-1 dx, dA = -dq x^T.

    No more steps are taken than `MANY` for each unknown.
    """
    steps = min(steps, MANY * q.shape[-1])
    with torch.no_grad():
        x = _conjugate_gradients(product, q, steps)
    if not torch.is_grad_enabled():
        return x
    # Of no size, but it carries the gradient to q and to what A is made of.
    rest = q - product(x)
    return _Solution.apply(rest, x, product, steps)


class _Solution(torch.autograd.Function):
    """The solution that is known, and on the way back that of the system with the gradient on its right side."""

    @staticmethod
    def forward(ctx: Any, rest: Tensor, x: Tensor, product: Product, steps: int) -> Tensor:
        ctx.product, ctx.steps = product, steps
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        with torch.no_grad():
            return _conjugate_gradients(ctx.product, gradients[0], ctx.steps), None, None, None


def _conjugate_gradients(product: Product, q: Tensor, steps: int) -> Tensor:
    smallest = torch.finfo(q.dtype).tiny
    x, rest, direction = torch.zeros_like(q), q, q
    size = rest.square().sum(-1, keepdim=True)
    for _ in range(steps):
        image = product(direction)
        # Once a solution is exact, all of these are zero.
        length = size / (direction * image).sum(-1, keepdim=True).clamp(min=smallest)
        x = x + length * direction
        rest = rest - length * image
        before, size = size, rest.square().sum(-1, keepdim=True)
        direction = rest + size / before.clamp(min=smallest) * direction
    return x
