from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lumigraph.events.graph import CompleteGraph, complete_pairs, lengths_to_ptr, ptr_to_batch, ring_pairs

LENGTHS = st.lists(st.sampled_from([0, 1, 2, 3, 7]), max_size=6)


def by_hand(lengths):
    """Pairs (sender, receiver), ordered by receiver, then sender."""
    edges, first = [], 0
    for n in lengths:
        pairs = permutations(range(first, first + n), 2)
        edges += sorted(pairs, key=lambda pair: (pair[1], pair[0]))
        first += n
    return edges


@pytest.mark.parametrize("n", range(9))
def test_edges_of_one_event_are_all_ordered_pairs(n):
    graph = CompleteGraph.from_lengths(torch.tensor([n]))
    edges = list(zip(*graph.edge_index().tolist(), strict=True))
    assert edges == by_hand([n])
    assert len(set(edges)) == len(edges) == graph.num_edges == n * (n - 1)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [0, 3], [2, 0, 3], [3, 0], [0, 1, 4, 0, 0, 2, 0]])
def test_empty_events_first_in_the_middle_and_last(lengths):
    graph = CompleteGraph.from_lengths(torch.tensor(lengths, dtype=torch.long))
    assert list(zip(*graph.edge_index().tolist(), strict=True)) == by_hand(lengths)
    assert graph.num_graphs == len(lengths)


@given(LENGTHS)
def test_edges_stay_within_their_event(lengths):
    graph = CompleteGraph.from_lengths(torch.tensor(lengths, dtype=torch.long))
    assert list(zip(*graph.edge_index().tolist(), strict=True)) == by_hand(lengths)
    assert graph.num_edges == len(by_hand(lengths))
    assert graph.num_nodes == sum(lengths)
    assert graph.lengths.tolist() == lengths
    assert graph.batch.tolist() == [event for event, n in enumerate(lengths) for _ in range(n)]


def test_every_particle_hears_every_other_one_of_its_event():
    # LUMIN's edge list has each particle hear one neighbour, n - 1 times over
    sender, receiver = CompleteGraph.from_lengths(torch.tensor([5])).edge_index()
    for i in range(5):
        assert sorted(sender[receiver == i].tolist()) == [j for j in range(5) if j != i]


def test_number_of_edges_is_known_without_building_them():
    graph = CompleteGraph.from_lengths(torch.tensor([10**6, 3]))
    assert graph.num_edges == 10**6 * (10**6 - 1) + 6  # 16 TB as a list


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_offsets_of_any_integer_type(dtype):
    graph = CompleteGraph(torch.tensor([0, 2, 2, 5], dtype=dtype))
    assert graph.ptr.dtype == graph.edge_index().dtype == torch.long
    assert graph.edge_index().tolist() == CompleteGraph.from_lengths(torch.tensor([2, 0, 3])).edge_index().tolist()
    assert CompleteGraph.from_lengths(torch.tensor([2, 0, 3], dtype=dtype)).ptr.tolist() == [0, 2, 2, 5]


def test_small_integers_do_not_overflow():
    assert lengths_to_ptr(torch.tensor([100, 100], dtype=torch.int8)).tolist() == [0, 100, 200]


@given(LENGTHS)
def test_offsets_and_event_numbers(lengths):
    ptr = lengths_to_ptr(torch.tensor(lengths, dtype=torch.long))
    assert ptr.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    expected = [event for event, n in enumerate(lengths) for _ in range(n)]
    assert ptr_to_batch(ptr).tolist() == ptr_to_batch(ptr, sum(lengths)).tolist() == expected


def test_to_another_device_leaves_the_original():
    graph = CompleteGraph.from_lengths(torch.tensor([2, 3]))
    moved = graph.to("meta")
    assert (moved.ptr.device.type, graph.ptr.device.type) == ("meta", "cpu")
    assert moved.num_graphs == 2


def test_repr():
    graph = CompleteGraph(torch.tensor([0, 3, 3, 5]))
    assert repr(graph) == "CompleteGraph(num_graphs=3, num_nodes=5, num_edges=8)"


@pytest.mark.parametrize(
    ("ptr", "message"),
    [
        (
            torch.tensor([0.0, 2.0]),
            r"integer tensor of B\+1 offsets, got shape \(2,\) and torch.float32; .*from_lengths",
        ),
        (torch.tensor([False, True]), "torch.bool"),
        (torch.tensor([0 + 1j]), "torch.complex64"),
        (torch.tensor([[0, 2]]), r"shape \(1, 2\)"),
        (torch.tensor(0), r"shape \(\)"),
        (torch.tensor([], dtype=torch.long), r"shape \(0,\)"),
        (torch.tensor([1, 2]), r"start at 0 and never fall, got \[1, 2\]"),
        (torch.tensor([0, 3, 2]), "never fall"),
        (torch.tensor([0, 3, 2], dtype=torch.uint8), "never fall"),
    ],
)
def test_offsets_that_are_none(ptr, message):
    with pytest.raises(ValueError, match=message):
        CompleteGraph(ptr)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([1.0]), "integers of at least 0, got .*torch.float32"),
        (torch.tensor([True, False]), "torch.bool"),  # a mask is not a list of lengths
        (torch.tensor([1j]), "torch.complex64"),
        (torch.tensor([[1]]), r"shape \(1, 1\)"),
        (torch.tensor([2, -1]), "at least 0"),
    ],
)
def test_lengths_that_are_none(lengths, message):
    with pytest.raises(ValueError, match=message):
        CompleteGraph.from_lengths(lengths)


class TestPairs:
    MASK = torch.tensor([[True, False, True, True], [False] * 4, [False, True, False, False], [True] * 4])

    def test_complete_pairs_are_those_of_the_edge_list(self):
        lengths = self.MASK.sum(1)
        pairs = complete_pairs(self.MASK)
        place = self.MASK.flatten().nonzero()[:, 0]
        sender, receiver = CompleteGraph.from_lengths(lengths).edge_index()
        found = torch.zeros_like(pairs)
        for j, i in zip(place[sender].tolist(), place[receiver].tolist(), strict=True):
            found[i // 4, i % 4, j % 4] += 1
        assert torch.equal(pairs, found)

    def test_the_ring_of_n_slots_is_lumins(self):
        for n in range(1, 6):
            expected = torch.zeros(n, n, dtype=torch.long)
            for edge in range(n * (n - 1)):
                expected[(edge - 1) % n, edge % n] += 1
            assert torch.equal(ring_pairs(torch.ones(1, n, dtype=torch.bool))[0], expected)

    def test_the_ring_leaves_out_what_is_absent(self):
        ring = ring_pairs(self.MASK)
        assert torch.equal(ring[0][self.MASK[0]][:, self.MASK[0]], ring_pairs(torch.ones(1, 3, dtype=torch.bool))[0])
        assert ring.sum((1, 2)).tolist() == [6, 0, 0, 12]


def test_offsets_that_end_elsewhere_than_the_particles():
    with pytest.raises(ValueError, match="ptr must have offsets for 3 particles, got offsets for 2"):
        ptr_to_batch(torch.tensor([1, 3]), 3)
