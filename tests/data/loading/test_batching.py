"""Batches of events: each event once on one rank, never over a limit, as many in each epoch, the same for a seed."""

import copy
import itertools
import json
import math
import os
import pickle
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from lumigraph.data.loading.batching import EventBatches
from lumigraph.data.loading.drawing import balanced_weights

COSTS = {"batch_size": lambda n: 1, "particles_per_batch": lambda n: n, "pairs_per_batch": lambda n: n * (n - 1)}
JETS = np.random.default_rng(1).integers(5, 121, 3000)
MODES = {
    "by number": {"batch_size": 64},
    "by particles": {"particles_per_batch": 3000},
    "by pairs": {"pairs_per_batch": 200_000},
    "by all": {"batch_size": 50, "particles_per_batch": 3000, "pairs_per_batch": 200_000},
    "bucketed by number": {"batch_size": 64, "bucketed": True},
    "bucketed by particles": {"particles_per_batch": 3000, "bucketed": True},
    "bucketed by all": {"batch_size": 50, "particles_per_batch": 3000, "pairs_per_batch": 200_000, "bucketed": True},
}
each_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def on_ranks(lengths, num_ranks, **options):
    return [EventBatches(lengths, rank=rank, num_ranks=num_ranks, **options) for rank in range(num_ranks)]


def lists(batches):
    return [numbers.tolist() for numbers in batches]


def load(name, lengths):
    return sum(COSTS[name](int(n)) for n in lengths)


def within_limits(numbers, lengths, limits):
    return all(load(name, [lengths[i] for i in numbers]) <= limit for name, limit in limits.items() if name in COSTS)


@st.composite
def problems(draw):
    """Return ragged events, limits that hold for each of them, a way to fill batches, and a number of ranks."""
    lengths = draw(st.lists(st.sampled_from([0, 0, 1, 1, 2, 3, 5, 8, 40]), min_size=1, max_size=40))
    limits = draw(st.sets(st.sampled_from(sorted(COSTS)), min_size=1))
    spare = draw(st.integers(0, 50))
    options = {name: max(1, max(COSTS[name](n) for n in lengths) + spare) for name in limits}
    options |= {"bucketed": draw(st.booleans()), "shuffle": draw(st.booleans()), "seed": draw(st.integers(0, 3))}
    return lengths, options, draw(st.integers(1, 4))


@given(problems(), st.integers(0, 1000))
def test_each_event_is_in_one_batch_of_one_rank_and_no_batch_is_empty_or_over_a_limit(problem, epoch):
    lengths, options, num_ranks = problem
    try:
        ranks = [(len(sampler), sampler.batches(epoch)) for sampler in on_ranks(lengths, num_ranks, **options)]
    except ValueError as error:  # no more batches than events
        assert "use fewer processes" in str(error)  # noqa: PT017
        assert num_ranks > 1
        return
    steps = ranks[0][0]
    assert all(promised == len(batches) == steps for promised, batches in ranks)
    batches = [numbers for _, own in ranks for numbers in own]
    assert sorted(i for numbers in batches for i in numbers.tolist()) == list(range(len(lengths)))
    by_number = not options["bucketed"] and not {"particles_per_batch", "pairs_per_batch"} & set(options)
    for numbers in batches:
        assert numbers.dtype == np.int64
        assert numbers.size > 0
        if not by_number:
            assert within_limits(numbers, lengths, options)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_by_number_ranks_together_have_the_batches_of_one_process(num_events, batch_size, num_ranks, shuffle):
    if num_ranks > num_events:
        return
    ranks = on_ranks(num_events, num_ranks, batch_size=batch_size, shuffle=shuffle, seed=3)
    one = EventBatches(num_events, batch_size=num_ranks * batch_size, shuffle=shuffle, seed=3, rank=0, num_ranks=1)
    steps = len(ranks[0])
    assert steps == max(1, math.ceil(num_events // num_ranks / batch_size))
    parts = [sampler.batches(2) for sampler in ranks]
    together = [sorted(np.concatenate([own[b] for own in parts]).tolist()) for b in range(steps)]
    alone = [sorted(numbers.tolist()) for numbers in one.batches(2)]
    # fewer events than ranks that are left over join the last batch
    assert together[:-1] == alone[: steps - 1]
    assert together[-1] == sorted(itertools.chain(*alone[steps - 1 :]))
    assert len(alone) - steps == (0 < num_events % (num_ranks * batch_size) < num_ranks and num_events > num_ranks)
    assert max(len(numbers) for own in parts for numbers in own) <= batch_size + 1


def test_by_number_the_order_is_that_of_a_batch_sampler_over_shuffled_events():
    for shuffle in (False, True):
        batches = EventBatches(103, batch_size=10, shuffle=shuffle, seed=5)
        for epoch in range(3):
            order = np.random.default_rng((5, epoch)).permutation(103) if shuffle else np.arange(103)
            assert lists(batches) == list(BatchSampler(order.tolist(), 10, drop_last=False))


@given(problems())
def test_dealing_takes_as_few_batches_as_cannot_go_over_a_limit(problem):
    lengths, options, _ = problem
    limits = {name: limit for name, limit in options.items() if name in COSTS}
    if set(limits) == {"batch_size"}:
        return
    falling = sorted(lengths, reverse=True)
    fits = [
        count for count in range(1, len(lengths) + 1)
        if all(load(name, falling[::count]) <= limit for name, limit in limits.items())
    ]  # fmt: skip
    assert len(EventBatches(lengths, **(options | {"bucketed": False}))) == min(fits)


@given(problems())
def test_buckets_are_filled_until_the_next_event_would_go_over_a_limit(problem):
    lengths, options, _ = problem
    expected = [[]]
    for n in sorted(lengths):
        if not all(load(k, expected[-1] + [n]) <= limit for k, limit in options.items() if k in COSTS):
            expected.append([])
        expected[-1].append(n)
    batches = EventBatches(lengths, **(options | {"bucketed": True})).batches(0)
    found = [sorted(lengths[i] for i in numbers) for numbers in batches]
    assert sorted(found) == sorted(expected)
    if not options["shuffle"]:
        assert found == expected


@each_mode
@pytest.mark.parametrize("weighted", [False, True])
def test_each_epoch_is_another_one_of_the_same_length_and_follows_from_seed_and_epoch(mode, weighted):
    options = mode | {"shuffle": True, "seed": 4, "weights": JETS / 7 if weighted else None}
    sampler = EventBatches(JETS, **options)
    epochs = [lists(sampler) for _ in range(3)]
    assert {len(epoch) for epoch in epochs} == {len(sampler)}
    assert epochs[0] != epochs[1] != epochs[2]
    assert sampler.epoch == 3
    sampler.set_epoch(1)
    assert lists(sampler) == epochs[1]
    assert sampler.epoch == 2
    assert lists(EventBatches(torch.from_numpy(JETS), **options).batches(2)) == epochs[2]
    assert lists(EventBatches(JETS, **(options | {"seed": 5}))) != epochs[0]
    for twin in (copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        assert lists(twin) == epochs[2]
    first = {frozenset(batch) for batch in epochs[0]}
    # other batches, not the same ones in another order; a bucket of very few events may come again
    assert len(first & {frozenset(batch) for batch in epochs[1]}) < 2


@each_mode
def test_without_shuffle_each_epoch_is_the_same_in_rising_order(mode):
    sampler = EventBatches(JETS, **mode)
    first = lists(sampler)
    assert lists(sampler) == first
    assert all(batch == sorted(batch) for batch in first)
    if sampler.bucketed:
        means = [JETS[batch].mean() for batch in first]
        assert means == sorted(means)


@each_mode
@pytest.mark.parametrize("weights", [None, np.ones(len(JETS))])
def test_shuffled_events_stand_in_random_order_within_a_batch(mode, weights):
    batches = EventBatches(JETS, shuffle=True, weights=weights, **mode).batches(0)
    for values in (np.arange(len(JETS)), JETS + np.linspace(0, 0.1, len(JETS))):
        # correlation with the place in the batch, in units of its error
        pulls = [np.corrcoef(np.arange(len(b)), values[b])[0, 1] * math.sqrt(len(b) - 1) for b in batches if len(b) > 2]
        assert abs(np.mean(pulls)) < 4 / math.sqrt(len(pulls))


def test_events_of_a_stratum_meet_at_random():
    # two strata of three events, (6, 5, 4) and (3, 2, 1): each of the 3! ways to pair them is as likely as any other
    lengths = [1, 2, 3, 4, 5, 6]
    sampler = EventBatches(lengths, particles_per_batch=9, shuffle=True)
    assert len(sampler) == 3
    seen = Counter(frozenset(frozenset(lengths[i] for i in b) for b in sampler.batches(e)) for e in range(1200))
    assert len(seen) == 6
    assert max(abs(count - 200) for count in seen.values()) < 5 * math.sqrt(200)


def test_events_of_the_same_multiplicity_meet_at_random():
    for bucketed in (False, True):
        sampler = EventBatches([3] * 6, particles_per_batch=6, shuffle=True, bucketed=bucketed)
        seen = Counter(frozenset(frozenset(b.tolist()) for b in sampler.batches(e)) for e in range(1500))
        assert len(seen) == 15  # the ways to make three pairs
        assert max(abs(count - 100) for count in seen.values()) < 5 * math.sqrt(100)


def test_dealing_in_order_evens_out_the_loads():
    totals = [JETS[b].sum() for b in EventBatches(JETS, particles_per_batch=6000).batches(0)]
    assert max(totals) - min(totals) < 20  # about a hundred if each stratum were dealt from the top


def test_buckets_are_halved_where_ranks_need_more_of_them():
    ranks = on_ranks([1] * 16, 4, batch_size=16, bucketed=True)
    assert [[len(b) for b in sampler.batches(0)] for sampler in ranks] == [[4]] * 4
    ranks = on_ranks([1] * 16 + [9] * 2, 3, particles_per_batch=18, bucketed=True)
    assert [[len(b) for b in sampler.batches(0)] for sampler in ranks] == [[8], [8], [2]]


def test_dealt_batches_are_alike_and_buckets_hold_events_of_one_multiplicity():
    dealt = [JETS[b] for b in EventBatches(JETS, particles_per_batch=6000, shuffle=True).batches(0)]
    totals = [n.sum() for n in dealt]
    assert max(totals) - min(totals) <= JETS.max() - JETS.min()
    assert min(totals) > 0.95 * 6000
    assert all(n.min() < 10 and n.max() > 110 for n in dealt)
    bucketed = [JETS[b] for b in EventBatches(JETS, particles_per_batch=6000, shuffle=True, bucketed=True).batches(0)]
    assert max(n.max() - n.min() for n in bucketed[:-1]) < 20
    padded = sum(len(n) * n.max() for n in bucketed)
    assert padded < 1.05 * JETS.sum()


@pytest.mark.parametrize("weights", [None, JETS])
def test_ranks_have_buckets_of_neighbouring_multiplicities_at_the_same_step(weights):
    ranks = on_ranks(JETS, 4, particles_per_batch=3000, bucketed=True, shuffle=True, weights=weights)
    plans = [sampler.batches(0) for sampler in ranks]
    steps = [[JETS[own[step]].mean() for own in plans] for step in range(len(plans[0]))]
    assert np.mean([max(means) - min(means) for means in steps]) < 10  # of 60 if they were shared out at random
    assert len({step.index(max(step)) for step in steps}) > 1  # no rank always has the most crowded events
    firsts = [means[0] for means in steps]
    assert firsts != sorted(firsts)


@each_mode
@pytest.mark.parametrize("favour", [lambda n: n**3, lambda n: 1.0 / n**3, lambda n: n > 119, lambda n: n < 6])
def test_weighted_batches_keep_the_limits_and_the_number_of_batches(mode, favour):
    weights = favour(JETS).astype(float)
    for sampler in on_ranks(JETS, 2, shuffle=True, weights=weights, **mode):
        assert len(sampler) == len(EventBatches(JETS, rank=0, num_ranks=2, **mode))
        batches = sampler.batches(1)
        assert len(batches) == len(sampler)
        assert all(len(numbers) and within_limits(numbers, JETS, mode) for numbers in batches)
        assert sum(map(len, batches)) <= 4 * len(JETS)
        assert (weights[np.concatenate(batches)] > 0).all()


def test_events_without_particles_alone_fill_the_batches_of_a_budget():
    lengths = np.array([0] * 10 + [9] * 90)
    for bucketed in (False, True):
        sampler = EventBatches(lengths, particles_per_batch=9, weights=lengths == 0, bucketed=bucketed)
        batches = sampler.batches(0)
        assert len(batches) == len(sampler) == 90
        assert all(len(numbers) for numbers in batches)
        assert set(np.concatenate(batches).tolist()) == set(range(10))


@each_mode
def test_events_are_drawn_as_often_as_their_weights_say(mode):
    # light events weigh more; a tenth is never drawn
    rng = np.random.default_rng(2)
    weights = rng.random(len(JETS)) * np.where(JETS < 40, 3.0, 1.0) * (rng.random(len(JETS)) > 0.1)
    group = np.digitize(JETS, [20, 40, 60, 80, 100]) * 2 + (weights > np.median(weights))
    expected = np.bincount(group, weights) / weights.sum()
    sampler = EventBatches(JETS, weights=weights, seed=1, **mode)
    epochs = np.array([np.bincount(group[np.concatenate(sampler.batches(e))], minlength=12) for e in range(150)])
    total = epochs.sum(1, keepdims=True)
    # batches of a bucket come or stay away together: the errors are those between epochs
    pull = (epochs - expected * total).mean(0) / ((epochs - expected * total).std(0, ddof=1) / math.sqrt(len(epochs)))
    assert np.abs(pull).max() < 4.5, pull
    np.testing.assert_allclose(epochs.sum(0) / total.sum(), expected, atol=0.004)
    assert (weights[np.concatenate(sampler.batches(0))] > 0).all()


def test_single_draws_agree_with_their_weights_by_chi_squared():
    from scipy.stats import chisquare

    weights = np.array([0.0, 1.0, 2.0, 5.0, 0.0, 0.5, 1.5, 0.0])
    batches = EventBatches(8, batch_size=8, weights=weights)
    counts = np.bincount(np.concatenate([batches.batches(e)[0] for e in range(5000)]), minlength=8)
    drawn = weights > 0
    assert not counts[~drawn].any()
    expected = weights[drawn] / weights.sum() * counts.sum()
    assert 1e-3 < chisquare(counts[drawn], expected).pvalue < 1 - 1e-3


@each_mode
def test_classes_are_drawn_equally_often_with_balanced_weights(mode):
    labels = (np.arange(len(JETS)) % 20 == 0) + 2 * (JETS > 100)
    sampler = EventBatches(JETS, shuffle=True, weights=balanced_weights(labels), **mode)
    drawn = np.concatenate([numbers for _ in range(20) for numbers in sampler])
    np.testing.assert_allclose(np.bincount(labels[drawn]) / len(drawn), 0.25, atol=0.01)


@each_mode
def test_loaders_take_it_as_batch_sampler(mode):
    check_loader(mode, num_workers=0)
    sampler = EventBatches(300, batch_size=7)
    plain = torch.utils.data.DataLoader(torch.arange(300), batch_sampler=sampler)
    assert lists(plain) == lists(sampler.batches(0))


def test_an_epoch_of_a_loader_with_workers_is_one_epoch():
    check_loader(MODES["by pairs"], num_workers=2)


def check_loader(mode, num_workers):
    lengths = JETS[:300]
    events = [Data(x=torch.full((int(n), 1), float(i)), y=torch.tensor([i])) for i, n in enumerate(lengths)]
    sampler = EventBatches(lengths, shuffle=True, **mode)
    loader = DataLoader(events, batch_sampler=sampler, num_workers=num_workers)
    assert len(loader) == len(sampler)
    for epoch in range(2):
        assert [batch.y.tolist() for batch in loader] == lists(sampler.batches(epoch))
    assert sampler.epoch == 2


def test_other_processes_make_the_same_batches_and_take_their_rank_from_torch_distributed(tmp_path):
    script = """
import json, sys, torch, numpy as np
from lumigraph.data.loading.batching import EventBatches
rank, path = int(sys.argv[1]), sys.argv[2]
lengths = np.random.default_rng(1).integers(5, 121, 300)
batches = EventBatches(lengths, pairs_per_batch=100_000, bucketed=True, shuffle=True, seed=6, weights=lengths)
alone = len(batches)
torch.distributed.init_process_group("gloo", init_method="file://" + path, rank=rank, world_size=2)
print(json.dumps([alone, len(batches), [b.tolist() for b in batches]]))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script, str(rank), str(tmp_path / "store")], env=environment,
            stdout=subprocess.PIPE, text=True,
        ) for rank in range(2)
    ]  # fmt: skip
    lengths = np.random.default_rng(1).integers(5, 121, 300)
    options = {"pairs_per_batch": 100_000, "bucketed": True, "shuffle": True, "seed": 6, "weights": lengths}
    for process, sampler in zip(processes, on_ranks(lengths, 2, **options), strict=True):
        answer = process.communicate(timeout=120)[0]
        assert process.returncode == 0
        assert json.loads(answer) == [
            len(EventBatches(lengths, **options)), len(sampler), lists(sampler)
        ]  # fmt: skip


def test_pairs_are_counted_in_64_bits():
    lengths = torch.tensor([70_000] * 4, dtype=torch.int32)
    assert len(EventBatches(lengths, pairs_per_batch=2 * 70_000 * 69_999)) == 2
    assert len(EventBatches(lengths, pairs_per_batch=2 * 70_000 * 69_999 - 1)) == 4
    assert len(EventBatches(torch.tensor([255] * 4, dtype=torch.uint8), particles_per_batch=510)) == 2
    for bucketed in (False, True):
        assert len(EventBatches([3, 4], particles_per_batch=10**30, pairs_per_batch=10**40, bucketed=bucketed)) == 1


def test_a_million_events_are_planned_without_a_loop_over_them():
    lengths = np.random.default_rng(0).integers(5, 121, 10**6)
    for options in ({}, {"bucketed": True}, {"weights": lengths}):
        sampler = EventBatches(lengths, pairs_per_batch=2**26, shuffle=True, **options)
        lines = 0

        def count(frame, event, arg):
            nonlocal lines
            lines += 1
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            batches = sampler.batches(0)
        finally:
            sys.settrace(before)
        assert lines < 10_000
        assert len(batches) == len(sampler) < 100


@pytest.mark.parametrize(
    ("lengths", "options", "error", "message"),
    [
        ([1, 2], {}, ValueError, "must have a limit: give batch_size"),
        ([], {"batch_size": 2}, ValueError, "no events to load"),
        (0, {"batch_size": 2}, ValueError, "no events to load"),
        (-1, {"batch_size": 2}, ValueError, "lengths must be at least 0, got -1"),
        (5, {"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ([1], {"pairs_per_batch": -5}, ValueError, "pairs_per_batch must be at least 1, got -5"),
        (5, {"particles_per_batch": 7}, ValueError, "lengths must be the particles of each event .* got 5"),
        (5, {"batch_size": 7, "bucketed": True}, ValueError, "lengths must be the particles of each event"),
        ([1, -2], {"batch_size": 2}, ValueError, "event 1: lengths must be at least 0, got -2"),
        ([1.0, 2.0], {"batch_size": 2}, TypeError, "whole numbers, one per event, got float64"),
        ([[1], [2]], {"batch_size": 2}, TypeError, r"got int64 of shape \(2, 1\)"),
        (
            [3, 9, 4],
            {"particles_per_batch": 8},
            ValueError,
            "event 1: it must have at most particles_per_batch=8 particles, got 9: raise",
        ),
        (
            [3, 9],
            {"pairs_per_batch": 71},
            ValueError,
            "event 1: it must have at most pairs_per_batch=71 pairs, got 72: .* max_particles of",
        ),
        (5, {"batch_size": 2, "seed": -1}, ValueError, "seed must be at least 0"),
        (5, {"batch_size": 2, "rank": 0}, ValueError, "must be given together"),
        (5, {"batch_size": 2, "rank": 2, "num_ranks": 2}, ValueError, "rank must be below num_ranks=2"),
        (5, {"batch_size": 2, "rank": 0, "num_ranks": 0}, ValueError, "num_ranks must be at least 1"),
        (3, {"batch_size": 2, "weights": [1.0, 2.0]}, TypeError, "weights must be 3 numbers, one per event"),
        (
            2,
            {"batch_size": 2, "weights": [1.0, -2.0]},
            ValueError,
            r"event 1: weights must be at least 0 .*, got -2.0: .*np.abs.* loss",
        ),
        (2, {"batch_size": 2, "weights": [1.0, math.inf]}, ValueError, "event 1: .* finite .* inf"),
        (2, {"batch_size": 2, "weights": [math.nan, 1.0]}, ValueError, "event 0: .* finite .* nan"),
        (2, {"batch_size": 2, "weights": [0.0, 0.0]}, ValueError, "must not all be zero"),
    ],
)
def test_what_cannot_be_is_said(lengths, options, error, message):
    with pytest.raises(error, match=message):
        EventBatches(lengths, **options)


@pytest.mark.parametrize("name", ["batch_size", "particles_per_batch", "seed", "bucketed", "shuffle"])
def test_values_of_a_wrong_type_are_named(plain_python, name):
    with pytest.raises(TypeError, match=f"{name} must be"):
        EventBatches([1, 2], **({"pairs_per_batch": 5} | {name: 1.5}))


def test_events_too_few_for_the_ranks_are_said():
    with pytest.raises(ValueError, match="3 events are too few for 4 ranks"):
        len(EventBatches(3, batch_size=1, rank=0, num_ranks=4))
    for bucketed in (False, True):
        sampler = EventBatches([5, 6, 7], particles_per_batch=7, bucketed=bucketed, rank=0, num_ranks=2)
        with pytest.raises(
            ValueError, match=r"3 events need 3 batches within particles_per_batch=7, .* 2 for each of 2 ranks"
        ):
            sampler.batches(0)
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        sampler.set_epoch(-1)
