import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lumigraph.events.particles import Particles, rows_of_particles
from lumigraph.nn import Pool
from lumigraph.nn.pooling import check_pooling

METHODS = ("sum", "mean", "max", "attention", "flatten")
LENGTHS = st.lists(st.sampled_from([0, 1, 2, 3, 7]), max_size=6)
TOLERANCE = {"rtol": 1e-13, "atol": 1e-13}


def events(lengths, num_slots=8, channels=3, seed=0):
    """Values, slots (holes included) and offsets of ragged events."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), channels, dtype=torch.float64, generator=generator)
    slots = [torch.randperm(num_slots, generator=generator)[:n].sort().values for n in lengths]
    ptr = torch.tensor([sum(lengths[:i]) for i in range(len(lengths) + 1)])
    return x, torch.cat([torch.zeros(0, dtype=torch.long), *slots]), ptr


def layer(method, num_slots=8, channels=3):
    """A layer whose attention is far from equal weights."""
    torch.manual_seed(3)
    return Pool(channels, method, num_slots, act="swish").double()


def pool(x, slot, ptr, method, num_slots):
    return layer(method, num_slots, x.size(1)).to(x.dtype)(x, slot, ptr)


def by_hand(x, slot, ptr, method, num_slots):
    channels, result = x.size(1), []
    gate = layer(method, num_slots, channels).gate
    for begin, end in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        if method == "flatten":
            out = [[0.0] * num_slots for _ in range(channels)]  # feature-major
            for row in range(begin, end):
                for c in range(channels):
                    out[c][int(slot[row])] = float(x[row, c])
            result.append([value for feature in out for value in feature])
            continue
        if method == "attention":
            scores = [gate(x[row][None]).item() for row in range(begin, end)]
            weights = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
            rows = zip(weights, range(begin, end), strict=True)
            result.append(sum((w * x[row] for w, row in rows), torch.zeros(channels).double()).tolist())
            continue
        columns = [[float(x[row, c]) for row in range(begin, end)] for c in range(channels)]
        n = end - begin
        reduce = {"sum": sum, "mean": lambda v, n=n: sum(v) / n, "max": max}[method]
        result.append([reduce(column) if n else 0.0 for column in columns])
    width = channels * (num_slots if method == "flatten" else 1)
    return torch.tensor(result, dtype=torch.float64).view(-1, width)


@pytest.mark.parametrize("method", METHODS)
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_against_a_loop(method, lengths, seed):
    x, slot, ptr = events(lengths, seed=seed)
    torch.testing.assert_close(pool(x, slot, ptr, method, 8), by_hand(x, slot, ptr, method, 8), **TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_padded_events_give_the_same_whatever_fills_them(method, lengths, seed):
    x, slot, ptr = events(lengths, seed=seed)
    rows, mask = rows_of_particles(Particles(x, slot, ptr), 8)
    filled = torch.where(mask.unsqueeze(-1), rows, torch.full_like(rows, 1e6))
    torch.testing.assert_close(layer(method).dense(filled, mask), pool(x, slot, ptr, method, 8), **TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lengths", [[], [0], [0, 2], [2, 0, 3], [3, 0, 0]])
def test_empty_events_give_zero_wherever_they_stand(method, lengths):
    x, slot, ptr = events(lengths)
    found = pool(x - 10, slot, ptr, method, 8)  # all negative: a largest value of 0 would show
    assert found.shape[0] == len(lengths)
    for n, row in zip(lengths, found, strict=True):
        assert bool((row == 0).all()) == (n == 0)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_right(method):
    x, slot, ptr = events([0, 3, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda v: pool(v, slot, ptr, method, 8), [x.requires_grad_()])


@pytest.mark.parametrize("method", ["sum", "mean", "max", "attention"])
def test_permuting_the_particles_changes_nothing(method):
    x, slot, ptr = events([2, 0, 5])
    order = torch.tensor([1, 0, 6, 2, 4, 3, 5])
    torch.testing.assert_close(pool(x[order], slot, ptr, method, 0), pool(x, slot, ptr, method, 0), **TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
def test_one_event_does_not_depend_on_another(method):
    x, slot, ptr = events([2, 0, 3])
    pool(x.requires_grad_(), slot, ptr, method, 8)[2].sum().backward()
    assert not x.grad[:2].any()
    assert x.grad[2:].any()


def test_flatten_is_feature_major():
    x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    found = pool(x, torch.tensor([0, 2]), torch.tensor([0, 2]), "flatten", 3)
    assert found.tolist() == [[1, 0, 3, 10, 0, 30]]


def test_flatten_goes_by_slot_and_not_by_order():
    x = torch.tensor([[3.0], [1.0]])
    assert pool(x, torch.tensor([2, 0]), torch.tensor([0, 2]), "flatten", 3).tolist() == [[1, 0, 3]]


def test_flatten_with_more_particles_than_slots_names_the_event():
    x, slot, ptr = torch.zeros(4, 2), torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 4])
    with pytest.raises(ValueError, match="event 2: there is a particle in slot 2, but there are 2 slots"):
        pool(x, slot, ptr, "flatten", 2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_input(method, dtype):
    x, slot, ptr = events([2, 0, 3])
    assert pool(x.to(dtype), slot, ptr, method, 8).dtype == dtype


@pytest.mark.parametrize("name", ["sum", "Mean", "MAX", "Attention", "flatten"])
def test_names_in_any_case(name):
    assert check_pooling("agg_method", name) == name.lower()


@pytest.mark.parametrize(
    ("name", "hint"), [("men", "did you mean mean"), ("add", "there are: sum, mean, max, attention, flatten")]
)
def test_other_names_are_an_error(name, hint):
    with pytest.raises(ValueError, match=f"agg_method must be a way to aggregate particles, got '{name}': {hint}"):
        check_pooling("agg_method", name)


def test_attention_is_a_mean_whose_weights_are_learned():
    x, slot, ptr = torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1]), torch.tensor([0, 2])
    attention = Pool(1, "attention", act="swish")
    with torch.no_grad():
        attention.gate[1][0].weight.zero_()
    assert attention(x, slot, ptr).tolist() == [[2.0]]
    before = attention.gate[0][0].weight.clone()
    attention.reset_parameters()
    assert not torch.equal(attention.gate[0][0].weight, before)
    assert attention(x, slot, ptr).item() != 2.0


@pytest.mark.parametrize(("method", "width"), [("sum", 5), ("attention", 5), ("flatten", 20)])
def test_the_width_of_the_output(method, width):
    assert Pool(5, method, 4).get_out_size() == width
