import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lumigraph.blocks import FullyConnected, RecurrentHead
from lumigraph.events.adapters import from_jagged
from lumigraph.nn.recurrent import walk, walk_unrolled

FEATS = ["px", "py"]
VECS = ["a", "b", "c", "d"]
NAMES = {"cont_feats": [f"{v}_{f}" for v in VECS for f in FEATS], "vecs": VECS, "feats_per_vec": FEATS}
KINDS = [nn.RNN, nn.LSTM, nn.GRU]
every = pytest.mark.parametrize("rnn", KINDS)
directions = pytest.mark.parametrize("bidirectional", [False, True])


def head(**options):
    return RecurrentHead(**NAMES, **{"depth": 2, "width": 3, **options}).double().eval()


def by_hand(rnn, particles):
    """Final states of one event, its particles handed to torch alone."""
    if not len(particles):
        return torch.zeros(rnn.hidden_size * (1 + rnn.bidirectional)).double()
    _, last = rnn(particles.unsqueeze(0))
    last = last[0] if isinstance(last, tuple) else last
    return last[-1 - rnn.bidirectional :, 0].flatten()


@every
@directions
@pytest.mark.parametrize("depth", [1, 2])
@given(slots=st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=4))
def test_only_particles_that_are_there_are_walked_along(rnn, bidirectional, depth, slots):
    block = head(rnn=rnn, bidirectional=bidirectional, depth=depth)
    rows = torch.randn(len(slots), 4, 2).double()
    for event, its in enumerate(slots):
        rows[event, [s for s in range(4) if s not in its]] = torch.nan
    expected = [by_hand(block.rnn, rows[event, sorted(its)]) for event, its in enumerate(slots)]
    torch.testing.assert_close(block((None, rows)), torch.stack(expected))


@every
@directions
def test_the_states_after_each_particle(rnn, bidirectional):
    block = head(rnn=rnn, bidirectional=bidirectional, stateful=True)
    rows = torch.randn(2, 4, 2).double()
    rows[0, 1] = torch.nan
    rows[1] = torch.nan
    states = block((None, rows))
    assert states.shape == (2, *block.get_out_size()) == (2, 4, 3 * (1 + bidirectional))
    torch.testing.assert_close(states[0, [0, 2, 3]], block.rnn(rows[:1, [0, 2, 3]])[0][0])
    assert not states[0, 1].any()
    assert not states[1].any()


@every
@directions
@given(lengths=st.lists(st.integers(0, 5), max_size=4), seed=st.integers(0, 9))
def test_step_by_step_is_the_same_as_packed(rnn, bidirectional, lengths, seed):
    torch.manual_seed(seed)
    block = head(rnn=rnn, bidirectional=bidirectional)
    mask = torch.rand(len(lengths), 6).argsort(1) < torch.tensor(lengths).view(-1, 1)
    rows = torch.randn(len(lengths), 6, 2).double()
    found = walk_unrolled(block.mode, dict(block.rnn.named_parameters()), 2, rows, mask)
    for mine, theirs in zip(walk(block.rnn, rows, mask), found, strict=True):
        torch.testing.assert_close(mine, theirs)


@every
def test_the_backward_state_has_seen_every_particle(rnn):
    block = head(rnn=rnn, bidirectional=True, depth=1)
    x = torch.randn(1, 8).double().requires_grad_()
    backward = block(x)[0, 3:]
    gradient = torch.autograd.grad(backward.sum(), x)[0].view(4, 2)
    assert bool((gradient.abs().sum(1) > 0).all())
    weights = [p for name, p in block.rnn.named_parameters() if "hh_l0_reverse" in name]
    assert all(bool(g.abs().sum() > 0) for g in torch.autograd.grad(block(x)[0, 3:].sum(), weights))


def test_any_number_of_particles_will_do():
    block = head(rnn=nn.GRU, bidirectional=True)
    values = torch.randn(12, 2).double()
    found = block(from_jagged(values, lengths=torch.tensor([9, 0, 3])))
    torch.testing.assert_close(found[0], by_hand(block.rnn, values[:9]))
    torch.testing.assert_close(found[2], by_hand(block.rnn, values[9:]))
    with pytest.raises(ValueError, match="event 0: there is a particle in slot 4, but there are 4 slots"):
        head(stateful=True)(from_jagged(values, lengths=torch.tensor([9, 0, 3])))


# ------------------------------------------------------------------------------------------------------------- weights


@every
def test_biases_start_at_zero_but_for_one_gate(rnn):
    bias = {name: sum(p for n, p in head(rnn=rnn).rnn.named_parameters() if n.endswith(name) and "bias" in n)
            for name in ("l0", "l1")}  # fmt: skip
    expected = {nn.RNN: [0.0] * 3, nn.LSTM: [0.0] * 3 + [1.0] * 3 + [0.0] * 6, nn.GRU: [-1.0] * 3 + [0.0] * 6}[rnn]
    assert all(both.tolist() == expected for both in bias.values())


@every
def test_weights_start_orthogonal_the_recurrent_ones_gate_by_gate(rnn):
    layers = RecurrentHead(**NAMES, depth=1, width=5, rnn=rnn).rnn
    for gate in layers.weight_hh_l0.split(5):
        torch.testing.assert_close(gate @ gate.T, torch.eye(5))
    torch.testing.assert_close(layers.weight_ih_l0.T @ layers.weight_ih_l0, torch.eye(2))


@every
def test_the_kind_of_cell_may_be_named(rnn):
    assert type(head(rnn=rnn.__name__).rnn) is rnn


def test_dropout_is_between_layers():
    block = head(do=0.5).train()
    x = torch.rand(3, 8).double()
    assert not torch.equal(block(x), block(x))
    single = head(do=0.5, depth=1).train()  # and torch does not warn
    assert torch.equal(single(x), single(x))


def test_relu():
    assert head(act="relu").rnn.nonlinearity == "relu"
    assert bool((head(act="relu")(torch.randn(5, 8).double()) >= 0).all())


# -------------------------------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"act": "relu", "rnn": nn.LSTM}, ValueError, "act must be tanh for LSTM, got 'relu'"),
        ({"act": "swish"}, ValueError, "act must be tanh or relu for RNN, got 'swish'"),
        ({"rnn": "LSMT"}, ValueError, "rnn must be a recurrent layer, got 'LSMT': did you mean LSTM"),
        ({"rnn": nn.Linear}, TypeError, "rnn must be torch.nn.RNN, torch.nn.LSTM or torch.nn.GRU, or its name"),
        ({"depth": 0}, ValueError, "depth must be at least 1, got 0"),
        ({"do": 1.5}, ValueError, "do must be a rate from 0 to below 1, got 1.5"),
        ({"widht": 3}, TypeError, "RecurrentHead has no argument 'widht': did you mean width"),
    ],
)
def test_misuse(options, error, message):
    with pytest.raises(error, match=message):
        head(**options)


def test_a_body_behind_all_states_says_what_to_do():
    block = head(stateful=True)
    with pytest.raises(TypeError, match=r"n_in must be a number, got \(4, 3\): the head returns a sequence per event"):
        FullyConnected(block.get_out_size(), block.feat_map, depth=1, width=4)
