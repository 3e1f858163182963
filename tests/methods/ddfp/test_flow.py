import math

import numpy as np
import pytest
import torch

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.ddfp.flow import CouplingFlow


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_flow(seed: int = 0, **kwargs) -> CouplingFlow:
    """A float64 flow whose scales and shifts are far from zero."""
    flow = CouplingFlow(
        **{'channels': 6, 'hidden_channels': 5, 'generator': seeded(seed), **kwargs}
    )
    flow = flow.double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(12)
    return flow


def subnet_by_hand(subnet, row):
    """Linear, ReLU, Linear, ReLU, Linear in plain loops over Python floats."""
    linears = [subnet[0], subnet[2], subnet[4]]
    for i, linear in enumerate(linears):
        weight, bias = linear.weight.tolist(), linear.bias.tolist()
        row = [
            sum(w * v for w, v in zip(ws, row, strict=True)) + b
            for ws, b in zip(weight, bias, strict=True)
        ]
        if i < 2:
            row = [max(v, 0.0) for v in row]
    half = len(row) // 2
    return row[:half], row[half:]


def affine_by_hand(half, s, t):
    moved = zip(half, s, t, strict=True)
    return [v * math.exp(2.0 * 0.636 * math.atan(si)) + ti for v, si, ti in moved]


def flow_by_hand(flow, row):
    """The coupling equations for one feature vector, element by element."""
    logdet = 0.0
    for k, block in enumerate(flow.blocks):
        half = len(row) // 2
        a, c = row[:half], row[half:]
        s, t = subnet_by_hand(block.subnet_first, c)
        a = affine_by_hand(a, s, t)
        logdet += sum(2.0 * 0.636 * math.atan(si) for si in s)
        s, t = subnet_by_hand(block.subnet_second, a)
        c = affine_by_hand(c, s, t)
        logdet += sum(2.0 * 0.636 * math.atan(si) for si in s)
        joined = a + c
        row = [joined[j] for j in np.random.RandomState(k).permutation(len(row))]
    return row, logdet


def test_equations_element_by_element():
    flow = small_flow(num_blocks=3)
    x = torch.randn(4, 6, dtype=torch.float64, generator=seeded(1))
    z, logdet = flow(x)
    for row, z_row, logdet_row in zip(x.tolist(), z, logdet, strict=True):
        z_hand, logdet_hand = flow_by_hand(flow, row)
        torch.testing.assert_close(z_row, torch.tensor(z_hand, dtype=torch.float64))
        assert logdet_row.item() == pytest.approx(logdet_hand, abs=1e-10)


def test_parameter_count_of_the_paper_size():
    assert sum(p.numel() for p in CouplingFlow(256, 256, 2).parameters()) == 658_432


@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_inverse_undoes_forward(dtype, tolerance):
    flow = CouplingFlow(generator=seeded()).to(dtype)
    x = torch.randn(64, 256, generator=seeded(1), dtype=dtype)
    z, _ = flow(x)
    assert (z - x).abs().max() > 0.1
    assert (flow.inverse(z) - x).abs().max() < tolerance


def test_inverse_undoes_forward_far_from_initialisation():
    flow = small_flow()
    x = torch.randn(32, 6, dtype=torch.float64, generator=seeded(1))
    torch.testing.assert_close(flow.inverse(flow(x)[0]), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize('flow', [small_flow(), CouplingFlow(16, 8, generator=seeded()).double()])
def test_logdet_is_that_of_the_jacobian(flow):
    x = torch.randn(5, flow.channels, dtype=torch.float64, generator=seeded(2))
    _, logdet = flow(x)
    for row, value in zip(x, logdet, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda r: flow(r[None])[0][0], row)
        assert abs(torch.linalg.slogdet(jacobian).logabsdet - value) < 1e-8


def test_logdet_is_bounded():
    """2 blocks x 2 couplings x 128 scales, each below 1.9981 in size, whatever the weights."""
    flow = CouplingFlow(generator=seeded())
    with torch.no_grad():
        for block in flow.blocks:
            for subnet in (block.subnet_first, block.subnet_second):
                subnet[-1].weight.zero_()
                subnet[-1].bias.fill_(1e6)
    _, logdet = flow(torch.randn(3, 256, generator=seeded(1)))
    assert (logdet <= 512 * 1.9981).all()
    assert (logdet > 512 * 1.998).all()


def test_permutations_of_the_authors_code():
    first, second = CouplingFlow().blocks
    assert first.permutation[:6].tolist() == [158, 83, 170, 101, 150, 200]
    assert second.permutation[:7].tolist() == [183, 34, 185, 233, 216, 181, 160]


def test_zero_subnets_leave_the_permutations():
    flow = CouplingFlow(generator=seeded())
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.zero_()
    x = torch.randn(3, 256, generator=seeded(1))
    z, logdet = flow(x)
    first, second = (np.random.RandomState(k).permutation(256) for k in (0, 1))
    assert torch.equal(z, x[:, first][:, second])
    assert torch.equal(logdet, torch.zeros(3))


def test_construction_with_a_generator_leaves_global_generators_alone():
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()
    CouplingFlow(8, 8, generator=seeded())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])
    assert np.random.get_state()[2] == numpy_state[2]


def test_every_weight_and_bias_starts_from_the_same_normal():
    flow = CouplingFlow(generator=seeded())
    for name, parameter in flow.named_parameters():
        # Four standard errors of the estimated deviation; the smallest bias has 256 entries.
        assert parameter.std().item() == pytest.approx(0.05, rel=4 / math.sqrt(2 * 256)), name
        assert abs(parameter.mean().item()) < 4 * 0.05 / math.sqrt(256), name


def test_generator_decides_the_weights():
    one, same, other = (CouplingFlow(8, 8, generator=seeded(s)) for s in (3, 3, 4))
    pairs = zip(one.parameters(), same.parameters(), other.parameters(), strict=True)
    for p_one, p_same, p_other in pairs:
        assert torch.equal(p_one, p_same) and not torch.equal(p_one, p_other)


def test_autocast_and_half_inputs_change_nothing():
    flow = CouplingFlow(8, 8, generator=seeded())
    x = torch.randn(5, 8, generator=seeded(1)).bfloat16()
    z, logdet = flow(x.float())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        z_cast, logdet_cast = flow(x)
        x_cast = flow.inverse(z)
    assert z_cast.dtype == logdet_cast.dtype == x_cast.dtype == torch.float32
    assert torch.equal(z_cast, z) and torch.equal(logdet_cast, logdet)
    assert torch.equal(x_cast, flow.inverse(z))


def test_checkpoint_holds_weights_only():
    flow = CouplingFlow(8, 8)
    assert set(flow.state_dict()) == {name for name, _ in flow.named_parameters()}


@pytest.mark.parametrize(
    'kwargs, message',
    [
        ({'channels': 255}, 'channels=255'),
        ({'channels': 0}, 'channels=0'),
        ({'hidden_channels': 0}, 'hidden_channels=0'),
        ({'num_blocks': 0}, 'num_blocks=0'),
    ],
)
def test_impossible_sizes_are_refused(kwargs, message):
    with pytest.raises(SetupError, match=message):
        CouplingFlow(**kwargs)
