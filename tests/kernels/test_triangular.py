import pytest
import torch

from kernels.triangular import unit_triangular_inverse


def lower(size, kind):
    torch.manual_seed(size)
    full = torch.ones(3, size, size) if kind == "repeated keys" else 0.2 * torch.randn(3, size, size)
    return full.tril(-1).double()


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("kind", ["random", "repeated keys"])
def test_inverse_and_gradient(size, kind):
    strict = lower(size, kind).requires_grad_()
    identity = torch.eye(size, dtype=torch.float64)
    expected = torch.linalg.inv(identity + strict.tril(-1))
    weight = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weight).sum(), strict)[0].tril(-1)
    found = unit_triangular_inverse(strict)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), strict)[0], wanted, rtol=1e-7, atol=1e-6)


def test_repeated_keys_stay_exact_in_single_precision():
    strict = lower(32, "repeated keys").float()
    exact = torch.linalg.inv(torch.eye(32, dtype=torch.float64) + strict.double())
    assert (unit_triangular_inverse(strict) - exact).abs().max() < 1e-6
