import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lumigraph.nn import Scaling, Standardise
from lumigraph.nn.scaling import LOG_FLOOR, TRANSFORMS

INF = math.inf


def all_steps(dtype=torch.float64):
    """Return a layer of four features that does all that there is."""
    scale = Standardise(4).to(dtype)
    scale.set(
        torch.tensor([3.0, 0.5, 1.0, 0.0]), torch.tensor([0.5, 2.0, 3.0, 1.0]),
        low=torch.tensor([-INF, -INF, -2.5, -INF]), high=torch.tensor([500.0, INF, 2.5, INF]),
        transforms=("log", "symlog", None, None), limit=4.0,
    )  # fmt: skip
    return scale


def by_hand(row):
    """Do to one row what `all_steps` says, in plain Python."""
    pt = math.log(min(max(row[0], LOG_FLOOR), 500.0))
    either = math.copysign(math.log1p(abs(row[1])), row[1])
    inside = min(max(row[2], -2.5), 2.5)
    scaled = [(pt - 3) / 0.5, (either - 0.5) / 2, (inside - 1) / 3, row[3]]
    return [min(max(value, -4.0), 4.0) for value in scaled]


class TestStandardise:
    def test_starts_by_changing_nothing(self):
        x = torch.randn(5, 3)
        assert torch.equal(Standardise(3)(x), x)

    def test_takes_events_to_mean_zero_and_width_one(self):
        x = torch.randn(500, 3, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([3.0, -1.0, 0.0])
        scale = Standardise(3).double()
        scale.set(x.mean(0), x.std(0))
        torch.testing.assert_close(scale(x).mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
        torch.testing.assert_close(scale(x).std(0), torch.ones(3, dtype=torch.float64), rtol=1e-12, atol=0)

    def test_a_feature_that_never_varies_is_shifted_only(self):
        scale = Standardise(1)
        scale.set(torch.tensor([5.0]), torch.tensor([0.0]))
        assert scale(torch.tensor([[5.0], [7.0]])).tolist() == [[0.0], [2.0]]

    def test_every_step_within_the_limits_is_undone(self):
        x = torch.tensor([[50.0, -3.0, 1.5, 2.0], [12.0, 0.0, -2.5, -1.0]], dtype=torch.float64)
        scale = all_steps()
        torch.testing.assert_close(scale.undo(scale(x)), x, rtol=1e-13, atol=1e-13)
        assert scale.undo(torch.full((4,), 9.0)).tolist() == pytest.approx([500, math.expm1(18.5), 2.5, 9])

    def test_constants_are_saved_and_move_with_the_model(self):
        scale, other = Standardise(2), Standardise(2)
        scale.set(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
        other.load_state_dict(scale.state_dict())
        x = torch.randn(4, 2)
        assert torch.equal(other(x), scale(x))
        assert torch.equal(pickle.loads(pickle.dumps(scale))(x), scale(x))
        assert scale.double()(x.double()).dtype == torch.float64
        assert not list(scale.parameters())

    def test_constants_do_not_share_memory_with_what_they_were_set_to(self):
        scale, mean = Standardise(1), torch.tensor([1.0])
        scale.set(mean, torch.tensor([1.0]))
        mean += 1
        assert scale.mean.tolist() == [1.0]

    @pytest.mark.parametrize(
        "bad", [torch.zeros(3), torch.zeros(1), torch.tensor([0.0, math.nan]), torch.tensor([1, math.inf])]
    )
    @pytest.mark.parametrize("name", ["mean", "std"])
    def test_numbers_that_do_not_fit(self, name, bad):
        constants = {"mean": torch.zeros(2), "std": torch.ones(2), name: bad}
        scale = Standardise(2)
        with pytest.raises(ValueError, match=f"{name} must hold 2 finite numbers, one per feature"):
            scale.set(**constants)
        assert (scale.mean.tolist(), scale.std.tolist()) == ([0.0, 0.0], [1.0, 1.0])

    def test_repr(self):
        assert repr(Standardise(3)) == "Standardise(3)"


class TestSteps:
    @given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), max_size=5))
    def test_every_feature_is_limited_transformed_scaled_and_limited_again(self, rows):
        found = all_steps()(torch.tensor(rows, dtype=torch.float64).view(-1, 4))
        expected = torch.tensor([by_hand(row) for row in rows], dtype=torch.float64).view(-1, 4)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

    def test_any_number_of_axes_before_the_features(self):
        x = torch.randn(2, 3, 4, dtype=torch.float64)
        scale = all_steps()
        assert torch.equal(scale(x)[1, 2], scale(x[1, 2]))
        assert scale(x[:0]).shape == (0, 3, 4)

    def test_without_steps_there_are_only_shift_and_scale_and_their_two_constants(self):
        scale, x = Standardise(3), torch.randn(7, 3)
        scale.set(torch.tensor([0.3, -1.0, 7.0]), torch.tensor([0.7, 3.0, 11.0]))
        assert torch.equal(scale(x), (x - scale.mean) / scale.std)
        assert list(scale.state_dict()) == ["mean", "std"]

    def test_steps_that_do_nothing_change_nothing(self):
        x, constants = torch.randn(9, 2), (torch.tensor([0.3, -1.0]), torch.tensor([0.7, 3.0]))
        plain, idle = Standardise(2), Standardise(2)
        plain.set(*constants)
        idle.set(*constants, torch.full((2,), -INF), torch.full((2,), INF), (None, None), 1e30)
        assert torch.equal(plain(x), idle(x))

    def test_gradients_are_those_of_finite_differences(self):
        x = torch.tensor([[20.0, -3.0, 0.5, 0.3], [3.0, 8.0, -1.0, -2.0]], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(all_steps(), x)

    @pytest.mark.parametrize("value", [0.0, -0.0, -1e-3, 1e-3, 500.0, 2.5, -2.5, 1e30, -1e30, 1e-30, INF, -INF])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_gradients_are_finite_at_every_edge(self, value, dtype):
        x = torch.full((1, 4), value, dtype=dtype, requires_grad=True)
        y = all_steps(dtype)(x)
        y.sum().backward()
        assert bool(x.grad.isfinite().all())
        assert bool(y.isfinite().all())

    @pytest.mark.parametrize("zero", [0.0, -0.0])
    def test_symlog_has_slope_one_at_zero(self, zero):
        scale, x = Standardise(1), torch.tensor([[zero]], requires_grad=True)
        scale.set(torch.zeros(1), torch.ones(1), transforms=("symlog",))
        scale(x).sum().backward()
        assert x.grad.item() == 1

    def test_nan_stays_nan(self):
        x = torch.tensor([[math.nan, 1.0, math.nan, 1.0]], dtype=torch.float64)
        assert all_steps()(x).isnan().tolist() == [[True, False, True, False]]

    @pytest.mark.parametrize("low", [-INF, -3.0, 0.0])
    def test_a_logarithm_always_has_a_floor(self, low):
        scale = Standardise(1)
        scale.set(torch.zeros(1), torch.ones(1), low=torch.tensor([low]), transforms=("log",))
        assert scale(torch.tensor([[0.0]])).item() == pytest.approx(math.log(1e-3))

    def test_a_positive_lower_limit_is_the_floor_of_a_logarithm(self):
        scale = Standardise(2)
        scale.set(torch.zeros(2), torch.ones(2), low=torch.tensor([1e-6, 10.0]), transforms=("log", "log"))
        assert scale(torch.zeros(1, 2)).flatten().tolist() == pytest.approx([math.log(1e-6), math.log(10)])

    def test_every_transform_has_a_code_of_its_own(self):
        x = torch.tensor([[10.0] * len(TRANSFORMS)])
        scale = Standardise(len(TRANSFORMS))
        scale.set(torch.zeros(len(TRANSFORMS)), torch.ones(len(TRANSFORMS)), transforms=TRANSFORMS)
        assert len(set(scale(x).flatten().tolist())) == len(TRANSFORMS)

    def test_steps_are_forgotten_when_constants_are_set_anew(self):
        scale = all_steps()
        scale.set(torch.zeros(4), torch.ones(4))
        assert list(scale.state_dict()) == ["mean", "std"]

    def test_repr(self):
        assert repr(all_steps()) == "Standardise(4, limits, transforms, limit)"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"transforms": ("log",)}, "transforms must hold 2 names, one per feature"),
            ({"transforms": ("lg", None)}, "transforms must be log, symlog or None, got 'lg': did you mean log"),
            ({"low": torch.zeros(3)}, "low must hold 2 numbers, one per feature"),
            ({"high": torch.tensor([0.0, math.nan])}, "high must hold 2 numbers"),
            ({"low": torch.ones(2), "high": torch.zeros(2)}, "low must not be above high"),
            ({"transforms": ("log", None), "high": torch.tensor([-1.0, 0.0])}, "low must not be above high"),
            ({"limit": 0.0}, "limit must be a positive number, got 0.0"),
            ({"limit": INF}, "limit must be a positive number, got inf"),
        ],
    )
    def test_steps_that_do_not_fit(self, options, message):
        scale = Standardise(2)
        with pytest.raises(ValueError, match=message):
            scale.set(torch.ones(2), torch.ones(2), **options)
        assert {k: v.tolist() for k, v in scale.state_dict().items()} == {"mean": [0, 0], "std": [1, 1]}


class TestState:
    x = torch.tensor([[20.0, -3.0, 9.0, 0.3], [0.0, 8.0, -1.0, -2.0]])

    @pytest.mark.parametrize("assign", [False, True])
    def test_a_state_brings_its_steps_along(self, assign):
        scale, fresh = all_steps(torch.float32), nn.Sequential(Standardise(4))
        fresh.load_state_dict({f"0.{k}": v for k, v in scale.state_dict().items()}, assign=assign)
        assert torch.equal(fresh(self.x), scale(self.x))
        assert list(fresh.state_dict()) == [f"0.{k}" for k in scale.state_dict()]

    def test_a_state_without_steps_takes_them_away(self):
        scale, old = all_steps(torch.float32), {"mean": torch.ones(4), "std": torch.full((4,), 2.0)}
        scale.load_state_dict(old)
        assert torch.equal(scale(self.x), (self.x - 1) / 2)

    def test_a_state_that_knows_nothing_of_the_layer_leaves_it(self):
        scale = all_steps(torch.float32)
        before = scale(self.x)
        scale.load_state_dict({}, strict=False)
        assert torch.equal(scale(self.x), before)

    def test_the_state_of_another_width_is_refused(self):
        with pytest.raises(RuntimeError, match="size mismatch"):
            Standardise(3).load_state_dict(all_steps().state_dict())

    def test_the_precision_of_the_layer_is_kept(self):
        scale = Standardise(4).double()
        scale.load_state_dict(all_steps(torch.float32).state_dict())
        assert scale(self.x.double()).dtype == torch.float64
        assert {v.dtype for k, v in scale.state_dict().items() if k != "transform"} == {torch.float64}

    def test_copies_do_the_same(self):
        scale = all_steps(torch.float32)
        for other in (copy.deepcopy(scale), pickle.loads(pickle.dumps(scale))):
            assert torch.equal(other(self.x), scale(self.x))
        assert scale.double()(self.x.double()).dtype == torch.float64

    def test_limits_do_not_share_memory_with_what_they_were_set_to(self):
        scale, low = Standardise(1), torch.tensor([1.0])
        scale.set(torch.zeros(1), torch.ones(1), low=low)
        low += 1
        assert scale.low.tolist() == [1.0]


class TestCaptured:
    def test_it_compiles_to_one_graph_for_any_number_of_rows(self, plain_python):
        scale = all_steps(torch.float32)
        compiled = torch.compile(scale, fullgraph=True, backend="aot_eager", dynamic=True)
        for rows in (3, 1, 8):
            x = torch.randn(rows, 4) * 10
            torch.testing.assert_close(compiled(x), scale(x))

    def test_it_exports_for_any_number_of_rows(self, plain_python):
        scale = all_steps(torch.float32)
        dim = torch.export.Dim.DYNAMIC
        exported = torch.export.export(scale, (torch.randn(3, 4),), dynamic_shapes=({0: dim},)).module()
        for rows in (0, 1, 8):
            x = torch.randn(rows, 4) * 10
            torch.testing.assert_close(exported(x), scale(x))

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of the exporter itself
    def test_onnx_gives_the_same(self, tmp_path, plain_python):
        pytest.importorskip("onnxscript")
        runtime = pytest.importorskip("onnxruntime")
        scale, path = all_steps(torch.float32).eval(), tmp_path / "scale.onnx"
        rows = torch.export.Dim("rows")
        torch.onnx.export(scale, (torch.randn(3, 4),), path, dynamo=True, dynamic_shapes=({0: rows},), verbose=False)
        x = torch.randn(9, 4) * 10
        session = runtime.InferenceSession(path)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), scale(x), rtol=1e-5, atol=1e-5)


class TestScaling:
    def test_some_features(self):
        scaling = Scaling(
            torch.arange(3.0), torch.arange(1.0, 4.0), torch.tensor([0.0, -INF, 2.0]), torch.full((3,), INF),
            ("log", None, "symlog"), 5.0,
        )  # fmt: skip
        part = scaling.select([2, 0])
        assert (part.mean.tolist(), part.std.tolist(), part.low.tolist()) == ([2, 0], [3, 1], [2, 0])
        assert (part.transforms, part.limit) == (("symlog", "log"), 5.0)
        assert scaling.select([]).mean.shape == (0,)
        assert Scaling(torch.zeros(2), torch.ones(2)).select([1])[2:] == (None, None, None, None)

    def test_which_features_are_altered(self):
        low, high = torch.tensor([0.0, -INF, -INF, -INF]), torch.tensor([INF, 1.0, INF, INF])
        scaling = Scaling(torch.zeros(4), torch.ones(4), low, high, (None, None, "log", None), 1.0)
        assert scaling.altered() == [0, 1, 2]
        assert Scaling(torch.zeros(4), torch.ones(4), limit=1.0).altered() == []
