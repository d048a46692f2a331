import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lumigraph import Model, ModelBuilder
from lumigraph.blocks import AbsEndcap, ClassRegMulti


class Twice(AbsEndcap):
    def func(self, x):
        return 2 * x


def model(objective="regression", n_out=2):
    return Model(ModelBuilder(objective, n_out, ["a", "b", "c"], model_args={"body": {"depth": 1, "width": 4}}))


X = np.linspace(-1.0, 1.0, 15, dtype=np.float32).reshape(5, 3)


def test_func_is_applied_to_outputs():
    outputs = torch.rand(3, 2)
    assert torch.equal(Twice(model())(outputs), 2 * outputs)


@pytest.mark.parametrize("inputs", [X, torch.from_numpy(X), pd.DataFrame(X, columns=["a", "b", "c"])])
@pytest.mark.parametrize("wrapped", ["Model", "module"])
def test_predictions_of_a_model_or_a_module(inputs, wrapped):
    inner = model()
    endcap = Twice(inner if wrapped == "Model" else inner.model)
    found = endcap.predict(inputs)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, 2 * inner.predict(X), rtol=1e-6)
    assert isinstance(endcap.predict(inputs, as_np=False), torch.Tensor)


@pytest.mark.parametrize("as_np", [True, False])
@pytest.mark.parametrize("wrapped", ["Model", "module", "tail"])
def test_a_multiclass_model_hands_on_probabilities(as_np, wrapped):
    inner = model("multiclass", 4)
    if wrapped == "tail":
        endcap = Twice(ClassRegMulti(3, 4, "multiclass"))
    else:
        endcap = Twice(inner if wrapped == "Model" else inner.model)
    np.testing.assert_allclose(np.asarray(endcap.predict(X, as_np=as_np)).sum(1), 2.0, rtol=1e-5)


def test_no_gradients_evaluation_mode_and_the_mode_as_before():
    endcap = Twice(nn.Sequential(nn.Dropout(0.5))).train()
    found = endcap.predict(torch.ones(50, 2, requires_grad=True), as_np=False)
    assert torch.equal(found, torch.full((50, 2), 2.0))
    assert not found.requires_grad
    assert endcap.training
    assert endcap.module.training


def test_the_parameters_of_the_model_are_registered():
    inner = model()
    assert len(list(Twice(inner).parameters())) == len(list(inner.parameters())) > 0


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_predicts_with_its_own_weights(make_copy):
    endcap = Twice(nn.Linear(3, 2))
    other = make_copy(endcap)
    np.testing.assert_array_equal(other.predict(X), endcap.predict(X))
    with torch.no_grad():
        other.module.weight.zero_()
    assert not np.allclose(other.predict(X), endcap.predict(X))


def test_func_must_return_a_tensor():
    class Three(AbsEndcap):
        def func(self, x):
            return 3

    with pytest.raises(TypeError, match="func must return a tensor, got int"):
        Three(model()).predict(X)


def test_a_tensor_of_another_precision_is_converted():
    endcap = Twice(model())
    np.testing.assert_array_equal(endcap.predict(torch.from_numpy(X).double()), endcap.predict(X))


def test_what_cannot_be_wrapped():
    with pytest.raises(TypeError, match="model must be a Model or a torch module, got dict"):
        Twice({})
    with pytest.raises(TypeError, match="abstract"):
        AbsEndcap(model())
