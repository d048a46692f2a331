"""Features of four-momenta by name, against the vector package, and finite where those are not."""

import itertools

import numpy as np
import pytest
import torch
import vector

from lumigraph.events.kinematics import delta_r
from lumigraph.nn.boost_features import FEATURES, boost_features, pair_cosines

SINGLES = ["E", "px", "py", "pz", "p", "pt", "eta", "phi", "m", "beta", "gamma"]
PAIRS = ["pair_dr", "pair_cos", "pair_ds", "pair_dy"]


def momenta(events=20, n=4, seed=0):
    random = np.random.default_rng(seed)
    p = random.normal(scale=30.0, size=(events, n, 3))
    energy = np.sqrt((p**2).sum(-1) + random.uniform(0.1, 50.0, size=(events, n)) ** 2)
    return torch.from_numpy(np.concatenate([p, energy[..., None]], axis=-1))


def as_vectors(p4):
    return vector.array({name: p4[..., i].numpy() for i, name in enumerate(("px", "py", "pz", "E"))})


def test_every_name_is_tested_here():
    assert list(FEATURES) == SINGLES + PAIRS


@pytest.mark.parametrize("name", SINGLES)
def test_of_particles(name):
    p4 = momenta()
    expected = getattr(as_vectors(p4), {"p": "mag", "m": "mass"}.get(name, name))
    np.testing.assert_allclose(boost_features(p4, [name]), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", PAIRS)
def test_of_pairs(name):
    p4 = momenta()
    columns = []
    for i, j in itertools.combinations(range(p4.size(1)), 2):
        a, b = as_vectors(p4[:, i]), as_vectors(p4[:, j])
        columns.append({
            "pair_dr": lambda a=a, b=b: a.deltaR(b),
            "pair_cos": lambda a=a, b=b: np.cos(a.deltaangle(b)),
            "pair_ds": lambda a=a, b=b: np.sign((a - b).tau2) * np.sqrt(np.abs((a - b).tau2)),
            "pair_dy": lambda a=a, b=b: np.arctanh(a.beta) - np.arctanh(b.beta),
        }[name]())  # fmt: skip
    np.testing.assert_allclose(boost_features(p4, [name]), np.stack(columns, axis=1), rtol=1e-6, atol=1e-6)


def test_the_columns_come_in_the_order_of_the_names():
    p4 = momenta(n=3)
    found = boost_features(p4, ["m", "pair_cos", "px"])
    assert found.shape == (20, 9)
    torch.testing.assert_close(found[:, 3:6], pair_cosines(p4))
    torch.testing.assert_close(found[:, 6:], p4[..., 0])


def test_distances_do_not_jump_where_phi_does():
    a, b = torch.tensor([-1.0, 1e-3, 0.0, 1.0]), torch.tensor([-1.0, -1e-3, 0.0, 1.0])
    for first, second in ((a, b), (b, a)):
        found = boost_features(torch.stack([first, second])[None].double(), ["pair_dr"])
        assert float(found) == pytest.approx(2e-3, rel=1e-4)
        assert float(delta_r(first, second)) == pytest.approx(2e-3, rel=1e-4)


DIFFICULT = {
    "nothing": [[0.0, 0.0, 0.0, 0.0]] * 2,
    "at rest": [[0.0, 0.0, 0.0, 5.0], [0.0, 0.0, 0.0, 2.0]],
    "massless": [[3.0, 4.0, 0.0, 5.0], [0.0, 3.0, 4.0, 5.0]],
    "collinear": [[3.0, 4.0, 0.0, 5.0], [6.0, 8.0, 0.0, 10.0]],
    "the same": [[3.0, 4.0, 1.0, 8.0]] * 2,
    "along the beam": [[0.0, 0.0, 7.0, 7.0], [0.0, 0.0, -7.0, 8.0]],
    "spacelike": [[3.0, 4.0, 0.0, 1.0], [3.0, 4.0, 5.0, -1.0]],
    "fast": [[500.0, 0.0, 0.0, 500.00001948], [0.0, 0.0, 0.0, 0.139]],
}


@pytest.mark.parametrize("case", DIFFICULT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FEATURES)
def test_everything_is_finite_gradients_included(name, case, dtype):
    p4 = torch.tensor([DIFFICULT[case]], dtype=dtype).requires_grad_()
    found = boost_features(p4, [name])
    assert found.dtype == dtype
    assert bool(found.isfinite().all())
    assert bool(torch.autograd.grad(found.sum(), p4)[0].isfinite().all())


@pytest.mark.parametrize("name", FEATURES)
def test_gradients_are_right(name):
    p4 = momenta(events=2, n=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: boost_features(x, [name]), [p4])


@pytest.mark.parametrize(
    ("names", "message"),
    [(["masss"], "the features must be those of four-momenta, got 'masss'"),
     ([], "must be a list of at least one name"),
     ("m", "must be a list of at least one name, got 'm'")],
)  # fmt: skip
def test_names_that_are_none(names, message):
    with pytest.raises(ValueError, match=message):
        boost_features(momenta(), names)
