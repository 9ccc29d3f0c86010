"""Muon: torch's own on 2-D weights, and what torch's own refuses: convolutions."""
from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from tadlib.training.optim import Muon, orthogonalize


def stepped(p: torch.Tensor, optimizer: torch.optim.Optimizer, gradient: torch.Tensor) -> torch.Tensor:
    """One step; the change that it made."""
    before = p.detach().clone()
    p.grad = gradient.clone()
    optimizer.step()
    return p.detach() - before


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24), (64, 576)])
def test_on_matrices_it_is_torchs_own(shape):
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(shape))
    theirs = torch.nn.Parameter(ours.detach().clone())
    mine = Muon([ours], lr=0.01, momentum=0.95)
    reference = torch.optim.Muon([theirs], lr=0.01, weight_decay=0, momentum=0.95, nesterov=True,
                                 adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        gradient = torch.randn(shape)
        a, b = stepped(ours, mine, gradient), stepped(theirs, reference, gradient)
        assert (a - b).norm() < 0.03 * b.norm()  # torch iterates in bf16: eight bits
        assert cosine_similarity(a.flatten(), b.flatten(), 0) > 0.9995


@pytest.mark.parametrize("shape", [(3, 16, 40), (3, 40, 16), (3, 64, 576)])
def test_orthogonalized_singular_values_are_near_one(shape):
    torch.manual_seed(0)
    x = torch.randn(shape) * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)
    values = torch.linalg.svdvals(orthogonalize(x))
    assert 0.6 < values.min() <= values.max() < 1.3


def test_orthogonalizing_keeps_the_singular_vectors():
    torch.manual_seed(0)
    x = torch.randn(1, 12, 30)
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    inner = (u.mT @ orthogonalize(x) @ vh.mT)[0]
    assert (inner - inner.diag().diag()).abs().max() < 1e-4
    assert inner.diag().min() > 0.6


def test_a_convolution_is_a_matrix_out_by_in_times_nine():
    torch.manual_seed(0)
    matrix = torch.nn.Parameter(torch.randn(8, 36))
    convolution = torch.nn.Parameter(matrix.detach().view(8, 4, 3, 3).clone())
    one, other = Muon([matrix], lr=0.1), Muon([convolution], lr=0.1)
    for _ in range(3):
        gradient = torch.randn(8, 36)
        a, b = stepped(matrix, one, gradient), stepped(convolution, other, gradient.view(8, 4, 3, 3))
        assert torch.equal(a, b.flatten(1))


def test_a_channels_last_weight_moves_the_same():
    torch.manual_seed(0)
    plain = torch.nn.Parameter(torch.randn(8, 4, 3, 3))
    last = torch.nn.Parameter(plain.detach().clone().to(memory_format=torch.channels_last))
    gradient = torch.randn(8, 4, 3, 3)
    a = stepped(plain, Muon([plain], lr=0.1), gradient)
    b = stepped(last, Muon([last], lr=0.1), gradient.to(memory_format=torch.channels_last))
    torch.testing.assert_close(a, b)


def test_weights_of_one_shape_do_not_mix():
    torch.manual_seed(0)
    gradients = [torch.randn(6, 4, 3, 3), 100 * torch.randn(6, 4, 3, 3)]
    together = [torch.nn.Parameter(torch.zeros(6, 4, 3, 3)) for _ in gradients]
    for p, g in zip(together, gradients, strict=True):
        p.grad = g
    Muon(together, lr=0.1).step()
    for p, g in zip(together, gradients, strict=True):
        alone = torch.nn.Parameter(torch.zeros(6, 4, 3, 3))
        torch.testing.assert_close(p.detach(), stepped(alone, Muon([alone], lr=0.1), g))


def test_the_update_has_adams_size():
    """RMS near 0.2 lr, whatever the shape (Liu et al. 2025); not exactly: the singular values are 0.7 to 1.2."""
    torch.manual_seed(0)
    for shape in [(64, 64, 3, 3), (16, 64, 3, 3), (64, 16)]:
        p = torch.nn.Parameter(torch.zeros(shape))
        change = stepped(p, Muon([p], lr=0.01), torch.randn(shape))
        assert change.square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.3)


def test_no_gradient_no_step_and_a_zero_gradient_is_harmless():
    still, zero = torch.nn.Parameter(torch.ones(4, 4)), torch.nn.Parameter(torch.ones(4, 4))
    zero.grad = torch.zeros(4, 4)
    Muon([still, zero], lr=0.1).step()
    assert torch.equal(still.detach(), torch.ones(4, 4))
    assert torch.equal(zero.detach(), torch.ones(4, 4))
