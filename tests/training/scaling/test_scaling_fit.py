import awkward as ak
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lumigraph import EventDataset, EventSchema, SchemaError
from lumigraph.events.errors import EventError
from lumigraph.nn import Standardise
from lumigraph.training.scaling import ScalingFit, fit_scaling

SCHEMA = EventSchema(
    collections=("Jet",), feats_per_vec=("pt", "eta", "tag"), event_feats=("ht", "const"), targets=("mass",), weight="w"
)


def events(n=200, seed=0, negative=0.1, schema=SCHEMA):
    """Return events with 0 to 4 jets each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 5, n)
    jets = {"pt": rng.exponential(50.0, lengths.sum()), "eta": rng.normal(size=lengths.sum())}
    jets["tag"] = (rng.random(lengths.sum()) < 0.1).astype(float)
    columns = {f"Jet_{name}": ak.unflatten(values, lengths) for name, values in jets.items()}
    columns |= {"ht": rng.exponential(300.0, n), "const": np.full(n, 3.0), "mass": rng.normal(125, 10, n)}
    columns["w"] = rng.uniform(0.5, 1.5, n) * np.where(rng.random(n) < negative, -1, 1)
    return EventDataset.from_columns(columns, schema)


def parts_of(data, cuts):
    return [data.select(part) for part in np.split(np.arange(len(data)), sorted(cuts))]


def applied(scaling, values):
    """Return what a model makes of features, in float64."""
    layer = Standardise(values.size(1)).double()
    layer.set(*scaling)
    return layer(values.double()).numpy()


def weights_of(data, field):
    w = data.weight.double()
    return (w.repeat_interleave(data.ptr.diff()) if field == "x" else w).numpy()


class TestFit:
    @given(st.lists(st.integers(0, 60), max_size=5), st.sampled_from(["standard", "robust", "none"]))
    def test_parts_give_what_all_events_give_at_once(self, cuts, method):
        data, options = events(60), {"scaling": method, "transforms": {"pt": "log", "ht": "symlog"}, "clip": 4.0}
        whole, parts = (fit_scaling(p, SCHEMA, **options) for p in ([data], parts_of(data, cuts)))
        for field in "ux":
            for mine, theirs in zip(parts[field][:2], whole[field][:2], strict=True):
                torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
            assert parts[field][4:] == whole[field][4:]

    def test_the_weighted_sample_comes_out_with_mean_zero_and_width_one(self):
        data = events()
        for field, scaling in fit_scaling([data], SCHEMA, transforms={"pt": "log"}).items():
            scaled, w = applied(scaling, getattr(data, field)), weights_of(data, field)
            np.testing.assert_allclose(np.average(scaled, axis=0, weights=w), 0, atol=1e-6)
            width = np.average(scaled**2, axis=0, weights=w)
            np.testing.assert_allclose(width, [1, 0] if field == "u" else 1, rtol=1e-6)
            assert np.abs(np.average(scaled, axis=0)).max() > 1e-3  # without weights it is another sample

    def test_robust_scales_are_those_of_scikit_learn_and_outliers_do_not_move_them(self):
        sklearn = pytest.importorskip("sklearn.preprocessing")
        schema = EventSchema(event_feats=("a",))
        values = np.random.default_rng(0).normal(5, 2, 20_001)
        oracle = sklearn.RobustScaler(unit_variance=True).fit(values[:, None])
        found = fit_scaling([EventDataset.from_columns({"a": values}, schema)], schema, scaling="robust")["u"]
        assert found.mean.item() == pytest.approx(oracle.center_.item(), abs=1e-3)
        assert found.std.item() == pytest.approx(oracle.scale_.item(), rel=1e-3)
        values[:100] = 1e9
        moved = fit_scaling([EventDataset.from_columns({"a": values}, schema)], schema, scaling="robust")["u"]
        assert abs(moved.mean.item() - 5) < 0.1
        assert abs(moved.std.item() - 2) < 0.1

    def test_a_feature_that_is_mostly_one_value_is_scaled_by_its_deviation(self):
        data = events(negative=0)
        robust, standard = (fit_scaling([data], SCHEMA, scaling=m)["x"] for m in ("robust", "standard"))
        assert (robust.mean[2], robust.std[2]) == (0, standard.std[2])
        assert robust.std[0] != standard.std[0]

    def test_limits_come_first_and_are_in_the_units_of_the_feature(self):
        data = events()
        scaling = fit_scaling([data], SCHEMA, clip={"pt": (10, 100)}, transforms={"pt": "log"})["x"]
        w, x = weights_of(data, "x"), data.x.double().numpy()
        expected = np.log(np.clip(x[:, 0], 10, 100))
        mean = np.average(expected, weights=w)
        std = np.sqrt(np.average((expected - mean) ** 2, weights=w))
        np.testing.assert_allclose(applied(scaling, data.x)[:, 0], (expected - mean) / std, rtol=1e-5, atol=1e-6)

    def test_one_number_limits_what_is_scaled(self):
        data = events()
        plain, limited = (fit_scaling([data], SCHEMA, clip=clip)["u"] for clip in (None, 1.5))
        expected = np.clip(applied(plain, data.u), -1.5, 1.5)
        np.testing.assert_array_equal(applied(limited, data.u), expected)
        assert np.abs(expected).max() == 1.5

    def test_without_a_method_there_are_only_the_steps_that_were_asked_for(self):
        data = events()
        assert fit_scaling([data], SCHEMA, scaling="none") == {}
        found = fit_scaling([data], SCHEMA, scaling="none", transforms={"ht": "log"})
        np.testing.assert_allclose(applied(found["u"], data.u)[:, 0], np.log(data.u[:, 0].double().numpy()), rtol=1e-12)
        np.testing.assert_array_equal(applied(found["x"], data.x), data.x.double().numpy())

    def test_targets_are_weighed_too(self):
        data = events()
        fit = ScalingFit(SCHEMA, targets=True)
        fit.update(data)
        mean, std = fit.targets()
        y, w = data.y.double().numpy()[:, 0], weights_of(data, "y")
        assert mean.item() == pytest.approx(np.average(y, weights=w), rel=1e-6)
        assert std.item() == pytest.approx(
            np.sqrt(np.average((y - np.average(y, weights=w)) ** 2, weights=w)), rel=1e-6
        )

    def test_events_without_weights_or_particles(self):
        schema = EventSchema(collections=("Jet",), feats_per_vec=("pt",), event_feats=("ht",))
        data = EventDataset.from_columns({"Jet_pt": ak.Array([[], [], []])[:, :0], "ht": np.arange(3.0)}, schema)
        found = fit_scaling([data, data.select([])], schema, scaling="robust")
        assert (found["u"].mean.item(), found["x"].mean.item(), found["x"].std.item()) == (1, 0, 1)
        assert fit_scaling([], schema)["u"].std.tolist() == [1]

    def test_more_rows_than_are_looked_at_at_once(self):
        schema, values = EventSchema(event_feats=("a",)), np.random.default_rng(0).normal(size=150_000)
        found = fit_scaling([EventDataset.from_columns({"a": values}, schema)], schema)["u"]
        assert found.mean.item() == pytest.approx(values.mean(), abs=1e-7)
        assert found.std.item() == pytest.approx(values.std(), rel=1e-6)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"scaling": "robst"}, ValueError, "scaling must be a method, got 'robst': did you mean robust"),
            (
                {"transforms": {"ptt": "log"}},
                SchemaError,
                "transforms must name features of the schema, got 'ptt': did you mean pt",
            ),
            ({"clip": {"mass": (0, 1)}}, SchemaError, "clip must name features of the schema, got 'mass'"),
            (
                {"transforms": {"pt": "ln"}},
                ValueError,
                r"transforms\['pt'\] must be a transform, got 'ln': there are: log, symlog",
            ),
            ({"clip": {"pt": (1, 1)}}, ValueError, r"clip\['pt'\] must be two numbers \(low, high\), low below high"),
            ({"clip": {"pt": 3}}, ValueError, r"clip\['pt'\] must be two numbers"),
            ({"clip": 0}, ValueError, "clip must be a positive number, or limits by name of feature, got 0"),
            ({"transforms": {"pt": "log"}, "clip": {"pt": (-2, -1)}}, ValueError, "low must not be above high"),
        ],
    )
    def test_options_that_do_not_fit(self, options, error, message, plain_python):
        with pytest.raises(error, match=message):
            ScalingFit(SCHEMA, **options)

    def test_a_logarithm_of_what_is_negative_needs_a_limit(self):
        data = events()
        first = int(torch.searchsorted(data.ptr, int((data.x[:, 1] < 0).nonzero()[0]), right=True)) - 1
        fit = ScalingFit(SCHEMA, transforms={"eta": "log"})
        with pytest.raises(
            SchemaError, match=rf"event {first}: 'eta' must be at least 0 for its logarithm, got -\d.*: use symlog"
        ):
            fit.update(data)
        fit_scaling([data], SCHEMA, transforms={"eta": "log"}, clip={"eta": (0, 9)})
        fit_scaling([data], SCHEMA, transforms={"eta": "symlog"})

    def test_what_is_no_number_names_event_and_feature(self):
        data, fit = events(5), ScalingFit(SCHEMA)
        fit.update(events(7))
        data.u[3, 0] = torch.inf
        with pytest.raises(EventError, match="event 3: 'ht' must be a finite number, got inf") as raised:
            fit.update(data)
        assert (raised.value.event, raised.value.column) == (3, "ht")
        with pytest.raises(EventError, match="event 10: 'ht' must be a finite number, got inf"):  # of several parts
            fit_scaling([events(7), data], SCHEMA)

    def test_weights_that_cancel(self):
        data = events(10)
        data.weight = -data.weight.abs()
        with pytest.raises(ValueError, match="the weights of 10 rows must have a positive sum to give a mean, got -"):
            fit_scaling([data], SCHEMA)
