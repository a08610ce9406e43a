import pytest
import torch

from kernels.triangular import unit_triangular_inverse


def lower(size, kind):
    torch.manual_seed(size)
    # Scaled, because the inverse of unscaled noise grows like 2^size.
    full = torch.ones(3, size, size) if kind == "repeated keys" else torch.randn(3, size, size) / size**0.5
    return full.tril(-1).double()


def substitution(strict):
    identity = torch.eye(strict.shape[-1], dtype=strict.dtype).expand_as(strict)
    return torch.linalg.solve_triangular(identity + strict, identity, upper=False, unitriangular=True)


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("kind", ["random", "repeated keys"])
def test_inverse_and_gradient(size, kind):
    strict = lower(size, kind).requires_grad_()
    expected = substitution(strict)
    weight = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weight).sum(), strict)[0]
    found = unit_triangular_inverse(strict)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), strict)[0], wanted, rtol=1e-7, atol=1e-6)


def test_repeated_keys_stay_exact_in_single_precision():
    strict = lower(32, "repeated keys").float()
    assert (unit_triangular_inverse(strict) - substitution(strict.double())).abs().max() < 1e-6
