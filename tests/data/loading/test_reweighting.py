import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lumigraph import EventDataset, EventSchema, SchemaError
from lumigraph.data import EventStream, write_columns
from lumigraph.data.loading.reweighting import SpectrumWeights, quantile_edges, reweighted

PT, ETA = np.array([20.0, 30.0, 45.0, 70.0, 120.0, 400.0]), np.array([-2.5, -1.0, 0.0, 1.0, 2.5])


def toys(seed, n=20_000, negative=0.0):
    """Return (pt, eta), labels 0, 1, 2 and weights: class 0 is softer and more forward than class 1."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    pt = 20 + rng.exponential(np.array([25.0, 45.0, 30.0])[label])
    eta = rng.normal(0, np.array([1.4, 0.9, 1.0])[label])
    weight = rng.uniform(0.5, 1.5, n) * np.where(rng.random(n) < negative, -1, 1)
    return np.stack([pt, eta], axis=1), label, weight


def spectrum(values, weights, edges):
    """Return the weighted spectrum, with what lies beyond in the edge bins: by NumPy's own histogram."""
    inside = [np.clip(column, e[0], e[-1]) for column, e in zip(values.T, edges, strict=True)]
    return np.histogramdd(np.stack(inside, axis=1), bins=edges, weights=weights)[0]


def fitted(bins, *events, **options):
    found = SpectrumWeights(bins, 0, 1, **options)
    found.update(*events)
    return found


@pytest.mark.parametrize("negative", [0.0, 0.2])
@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("keep_total", [False, True])
def test_the_source_gets_the_spectrum_of_the_target(negative, dimensions, keep_total):
    values, label, weight = toys(1, negative=negative)
    values, edges = values[:, :dimensions], [PT, ETA][:dimensions]
    weights = fitted(edges, values, label, weight, keep_total=keep_total)
    new = weights.weights(values, label, weight)
    before, after = (spectrum(values[label == 0], w[label == 0], edges) for w in (weight, new))
    wanted = spectrum(values[label == 1], weight[label == 1], edges)
    assert weights.matched.all()
    assert (weights.lost, weights.missed) == (0, 0)
    assert not np.allclose(before / before.sum(), wanted / wanted.sum(), rtol=0.1)
    np.testing.assert_allclose(after / after.sum(), wanted / wanted.sum(), rtol=1e-12)
    total = weight[label == 0].sum() if keep_total else wanted.sum()
    assert new[label == 0].sum() == pytest.approx(total, rel=1e-12)
    assert np.array_equal(new[label != 0], weight[label != 0])


@given(st.lists(st.integers(0, 300), max_size=5), st.integers(0, 2**32 - 1))
def test_chunks_give_what_all_events_give_at_once(cuts, seed):
    values, label, weight = toys(seed, n=300, negative=0.1)
    edges = [[20.0, 40.0, 80.0], [-1.0, 0.0, 1.0]]
    whole, parts = fitted(edges, values, label, weight), SpectrumWeights(edges, 0, 1)
    for chunk in zip(*(np.split(a, sorted(cuts)) for a in (values, label, weight)), strict=True):
        parts.update(*chunk)
    np.testing.assert_allclose(parts.source_spectrum, whole.source_spectrum, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parts.target_spectrum, whole.target_spectrum, rtol=1e-12, atol=1e-12)


def test_other_events_of_the_same_kind_agree_within_their_statistics():
    values, label, weight = toys(2, n=200_000)
    weights = fitted([PT, ETA], values, label, weight)
    values, label, weight = toys(3, n=200_000)
    new = weights.weights(values, label, weight)
    pulls = []
    for w in (weight, new):
        found, wanted = spectrum(values[label == 0], w[label == 0], [PT, ETA]), 0
        error = spectrum(values[label == 0], w[label == 0] ** 2, [PT, ETA])
        total = w[label == 0].sum() / weight[label == 1].sum()
        wanted = spectrum(values[label == 1], weight[label == 1], [PT, ETA]) * total
        error += spectrum(values[label == 1], weight[label == 1] ** 2, [PT, ETA]) * total**2
        # the weights themselves are known as well as those two spectra of as many events: hence twice the variance
        pulls.append((found - wanted) / np.sqrt(2 * error))
    assert np.abs(pulls[0]).max() > 20
    assert np.abs(pulls[1]).max() < 4.5
    assert 0.5 < np.mean(pulls[1] ** 2) < 1.6


def test_bins_that_do_not_match_get_no_weight_and_are_reported():
    pt = np.array([1.0, 1.0, 3.0, 1.0, 5.0, 5.0])
    label, weight = np.array([0, 0, 0, 1, 1, 0]), np.array([1.0, 1.0, 2.0, 3.0, 1.0, -1.0])
    weights = fitted([[0, 2, 4, 6]], pt, label, weight)
    assert weights.matched.tolist() == [True, False, False]
    # the source weighs 2 + 2 - 1 = 3 in all, which the first bin takes over
    assert weights.weights(pt, label, weight).tolist() == [1.5, 1.5, 0, 3, 1, 0]
    assert weights.lost == pytest.approx(3 / 5)
    assert weights.missed == pytest.approx(1 / 4)


def test_what_lies_beyond_the_edges_counts_in_the_edge_bins():
    weights = fitted([[0.0, 1.0, 2.0]], [-9.0, 1.0, 2.0, 9.0, -9.0, 9.0], [0, 0, 0, 0, 1, 1])
    assert weights.source_spectrum.tolist() == [1, 3]
    assert weights.weights([-99.0, 99.0], [0, 0]).tolist() == [2, 2 / 3]


def test_targets_and_weights_of_a_data_set_are_taken_as_they_are():
    values, label, weight = toys(4, n=100)
    expected = fitted([PT], values[:, 0], label, weight).weights(values[:, 0], label, weight)
    tensors = [torch.from_numpy(a) for a in (values[:, 0], label[:, None].astype(float), weight)]
    assert np.array_equal(fitted([PT], *tensors).weights(*tensors), expected)


def test_no_events():
    weights = fitted([PT], toys(5)[0][:, 0], toys(5)[1])
    before = weights.ratio
    weights.update([], [])
    assert np.array_equal(weights.ratio, before)
    assert weights.weights([], []).shape == (0,)


@pytest.mark.parametrize("bins", [[[1.0]], [[1.0, 1.0]], [[2.0, 1.0]], [[0.0, np.nan]], [0.0, 1.0]])
def test_bins_that_are_none(bins):
    with pytest.raises(ValueError, match=r"bins\[0\] must be at least two ascending edges"):
        SpectrumWeights(bins, 0, 1)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (([[1.0]], [0]), r"values must have the shape \(events, 2\), got \(1, 1\)"),
        (([[1.0, 1.0]], [0, 1]), r"labels must have the shape \(1,\)"),
        (([[1.0, 1.0]], [0], [1.0, 2.0]), r"weights must have the shape \(1,\)"),
        (([[1.0, 1.0], [1.0, np.nan]], [0, 0]), r"event 1: values must be finite, got \[1.0, nan\]"),
        (([[1.0, 1.0]], [0], [np.inf]), "event 0: weights must be finite, got inf"),
    ],
)
def test_events_that_do_not_fit(events, message):
    weights = SpectrumWeights([PT, ETA], 0, 1)
    with pytest.raises(ValueError, match=message):
        weights.update(*events)
    assert not weights.source_spectrum.any()


def test_classes_that_cannot_be_matched():
    with pytest.raises(ValueError, match="source and target must be different classes, got 1 twice"):
        SpectrumWeights([PT], 1, 1)
    with pytest.raises(ValueError, match="bins must hold the edges of at least one variable"):
        SpectrumWeights([], 0, 1)
    with pytest.raises(ValueError, match="no bin has a positive sum of weights of both classes 0"):
        SpectrumWeights([PT], 0, 1).weights([30.0], [0])
    negative = fitted([[0, 1, 2]], [0.5, 1.5, 0.5], [0, 0, 1], [1.0, -2.0, 1.0])
    with pytest.raises(ValueError, match=r"must have a positive sum to keep it, got -1: use keep_total=False"):
        negative.weights([0.5], [0])


@pytest.mark.parametrize("num_bins", [1, 7])
def test_edges_by_quantiles_hold_equal_numbers(num_bins):
    values = np.random.default_rng(0).exponential(size=7000)
    counts, _ = np.histogram(values, quantile_edges(values, num_bins))
    assert len(counts) == num_bins
    assert np.ptp(counts) <= 2


def test_edges_by_quantiles_are_different_ones():
    assert quantile_edges([0.0] * 90 + [1.0, 2.0, 3.0, 4.0] * 2, 4).tolist() == [0, 4]
    for bad in ([], [1.0, 1.0], [1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="values must be a vector of finite numbers"):
            quantile_edges(bad, 2)
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        quantile_edges([1.0, 2.0], 0)


@given(st.lists(st.integers(-3, 3), min_size=1).filter(lambda v: len(set(v)) > 1), st.integers(1, 10))
def test_few_values_have_a_bin_each(values, num_bins):
    edges = quantile_edges(values, num_bins)
    assert len(edges) <= num_bins + 1
    assert (np.diff(edges) > 0).all()
    found = np.unique(np.searchsorted(edges[1:-1], np.unique(values), side="right"))
    if len(set(values)) <= num_bins:
        assert len(found) == len(edges) - 1 == len(set(values))
    if values.count(max(values)) * num_bins > 2 * len(values):
        assert np.searchsorted(edges[1:-1], sorted(set(values))[-2], side="right") < len(edges) - 2


def test_a_flag_and_a_multiplicity_are_reweighted():
    label = np.array([0] * 6 + [1] * 10)
    flag = np.array([1, 1, 1, 1, 1, 0] + [1] * 3 + [0] * 7)
    jets = np.array([2, 2, 3, 3, 4, 4, 2, 2, 2, 3, 3, 4, 4, 4, 4, 4])
    schema = EventSchema(event_feats=("flag", "jets"), targets=("label",))
    events = EventDataset.from_columns({"flag": flag, "jets": jets, "label": label}, schema)
    for feat, column, expected in (("flag", flag, {0: 0.7, 1: 0.3}), ("jets", jets, {2: 0.3, 3: 0.2, 4: 0.5})):
        new = reweighted(events, [feat], source=0, target=1).weight.numpy()
        shares = {value: new[(label == 0) & (column == value)].sum() / 6 for value in expected}
        assert shares == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_training_events_are_reweighted_in_memory_and_from_files(tmp_path, kind):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 4000)
    columns = {
        "pt": rng.exponential(np.where(label == 1, 80.0, 50.0)),
        "eta": rng.normal(np.where(label == 1, 0.0, 0.5)),
        "label": label,
        "w": np.where(rng.random(4000) < 0.1, -0.5, 1.0),
    }
    schema = EventSchema(event_feats=("eta", "pt"), targets=("label",), weight="w")
    events = EventDataset.from_columns(columns, schema)
    if kind == "stream":
        events = EventStream(write_columns(tmp_path / "events.parquet", columns), schema, chunk_size=700)
    before = events.mean_weight()
    flat = reweighted(events, ["pt", "eta"], source=0, target=1, num_bins=4)
    assert flat.mean_weight() == pytest.approx(before, rel=1e-6)
    assert events.mean_weight() == before
    found = EventDataset.concatenate(list(flat.chunks()))
    w, pt, eta = found.weight.numpy(), found.u[:, 1].numpy(), found.u[:, 0].numpy()
    assert (w[label == 1] == columns["w"][label == 1].astype("f4")).all()
    edges = [quantile_edges(v[label == 1], 4) for v in (pt, eta)]
    for edge in edges:
        edge[0], edge[-1] = -np.inf, np.inf
    spectra = [np.histogram2d(pt[s], eta[s], edges, weights=w[s])[0] for s in (label == 0, label == 1)]
    np.testing.assert_allclose(spectra[0] / spectra[0].sum(), spectra[1] / spectra[1].sum(), atol=1e-5)
    batch = next(iter(flat.loader(100)))
    assert torch.equal(batch.weight, found.weight[:100])


def test_reweighting_needs_event_features_and_a_label():
    schema = EventSchema(event_feats=("pt",), targets=("label",))
    events = EventDataset.from_columns({"pt": [1.0, 2.0], "label": [0, 1]}, schema)
    with pytest.raises(SchemaError, match="'pT' is not an event feature: did you mean pt"):
        reweighted(events, ["pT"], source=0, target=1)
    unlabelled = EventDataset.from_columns({"pt": [1.0, 2.0]}, EventSchema(event_feats=("pt",)))
    with pytest.raises(SchemaError, match="must have one target"):
        reweighted(unlabelled, ["pt"], source=0, target=1)
    with pytest.raises(ValueError, match=r"class 1 must have .* values of 'pt', got \[2.0\] in 1 events"):
        reweighted(events, ["pt"], source=0, target=1)
    with pytest.raises(ValueError, match=r"class 7 must have .* values of 'pt', got \[\] in 0 events"):
        reweighted(events, ["pt"], source=0, target=7)
