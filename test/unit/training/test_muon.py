import pytest
import torch
from torch import nn

from m3_ros.features.vision_transformer import VisionSettings
from m3_ros.training.encoder_state import Start, load_state, new_state, save_state
from m3_ros.training.muon import Muon, optimisers, orthogonalise

NETWORK = VisionSettings(stem=(8, 8, 16), local_blocks=1, width=24, depth=1, heads=2, position_blocks=1, head_width=16)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 8, 40), (2, 40, 8)])
def test_singular_values_end_near_one(shape):
    torch.manual_seed(0)
    matrices = 100 * torch.randn(shape)
    flat = orthogonalise(matrices)
    u, values, v = torch.linalg.svd(matrices, full_matrices=False)
    found = torch.linalg.svdvals(flat)
    clear = values > 0.05 * values[:, :1]
    assert found[clear].min() > 0.6
    assert found.max() < 1.3
    # the same singular vectors: what is left between them is diagonal
    between = u.mT @ flat @ v.mT
    assert (between - torch.diag_embed(between.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-3


def test_directions_do_not_depend_on_the_size_of_the_gradient():
    torch.manual_seed(0)
    matrices = torch.randn(2, 12, 20)
    for size in (1e-5, 1e5):
        assert torch.allclose(orthogonalise(size * matrices), orthogonalise(matrices), atol=1e-4)


def test_weights_of_one_shape_step_as_each_would_alone():
    torch.manual_seed(0)
    start = [torch.randn(8, 12), torch.randn(8, 3, 2, 2), torch.randn(5, 5)]
    together, alone = ([nn.Parameter(x.clone()) for x in start] for _ in range(2))
    for a, b in zip(together, alone, strict=True):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
        Muon([b], lr=0.1).step()
    Muon(together, lr=0.1).step()
    for a, b in zip(together, alone, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_no_gradient_no_direction():
    assert orthogonalise(torch.zeros(1, 4, 6)).abs().max() == 0


def test_steps_are_as_large_as_those_of_adamw():
    torch.manual_seed(0)
    for layer in (nn.Linear(64, 64), nn.Linear(32, 128), nn.Conv2d(16, 16, 3)):
        weight, before = layer.weight, layer.weight.detach().clone()
        weight.grad = 1e-3 * torch.randn_like(weight)
        Muon([weight], lr=0.01).step()
        assert 0.5 < float((weight.detach() - before).square().mean().sqrt()) / (0.2 * 0.01) < 1.5


def test_queries_keys_and_values_step_on_their_own():
    torch.manual_seed(0)
    together, apart = nn.Parameter(torch.zeros(24, 8)), [nn.Parameter(torch.zeros(8, 8)) for _ in range(3)]
    together.grad = torch.randn(24, 8)
    for weight, gradient in zip(apart, together.grad.chunk(3), strict=True):
        weight.grad = gradient.clone()
    Muon([together], lr=1.0).step()
    Muon(apart, lr=1.0).step()
    assert torch.allclose(together, torch.cat(list(apart)), atol=1e-5)


def test_weights_decay_and_those_without_a_gradient_stay():
    weight, idle = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight, idle], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weight, torch.full((4, 4), 0.95))
    assert torch.equal(idle, torch.ones(4, 4))


def test_every_parameter_has_one_optimiser_and_the_head_is_adamws():
    network = new_state(NETWORK, Start()).network
    muon, adamw = optimisers(network, network.head, 1e-3, 0.05)
    ours, theirs = ([id(p) for group in o.param_groups for p in group["params"]] for o in (muon, adamw))
    assert sorted(ours + theirs) == sorted(id(p) for p in network.parameters())
    assert {id(network.head.weight), id(network.blocks[0].position.weight)} <= set(theirs)
    assert {id(network.blocks[0].qkv.weight), id(network.embed[1].weight)} <= set(ours)


def test_a_saved_state_steps_on_as_the_kept_one(tmp_path):
    def step(state):
        torch.manual_seed(state.step)
        state.network.zero_grad()
        state.network(torch.randn(2, 3, 32, 32)).square().sum(dim=(1, 2))[:, 0].sum().backward()
        for optimiser in state.optimisers:
            optimiser.step()
        state.step += 1

    kept = new_state(NETWORK, Start())
    step(kept)
    save_state(tmp_path / "state.pt", kept)
    again = load_state(tmp_path / "state.pt", new_state(NETWORK, Start(seed=5)))
    for state in (kept, again):
        step(state)
    for ours, theirs in zip(kept.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
