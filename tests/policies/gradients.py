"""Outputs and gradients of two ways to the same numbers, side by side."""

import torch


def gradients(work, *inputs):
    """Outputs of ``work`` and the gradients of a fixed random projection of them."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    out = work(*leaves)
    source = torch.Generator().manual_seed(1)
    out = out if isinstance(out, tuple) else (out,)
    sum((o * torch.randn(o.shape, generator=source)).sum() for o in out).backward()
    return [o.detach() for o in out], [x.grad for x in leaves if x.grad is not None]


def assert_same(a, b, tolerance=2e-5):
    for one, other in zip([*a[0], *a[1]], [*b[0], *b[1]], strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max())), (one - other).abs().max()
