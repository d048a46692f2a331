import inspect

import pytest
import torch
from torch import nn

from lumigraph import blocks
from lumigraph.blocks import AbsBlock, AbsBody, AbsHead, AbsMatrixHead, AbsTail, FullyConnected


class Layered(AbsBlock):
    """A block of a user: two layers, the first of which is frozen."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        self.layers[0].requires_grad_(False)

    def get_out_size(self):
        return 2

    def forward(self, x):
        return self.layers(x)


class Layerless(AbsBlock):
    def get_out_size(self):
        return 1


def test_only_what_is_trained_is_counted_unless_all_is_asked_for():
    block = Layered()
    assert block.get_param_count() == block.get_param_count(trainable=True) == 10
    assert block.get_param_count(trainable=False) == 26


def test_frozen_layers_stay_as_they_are_in_training():
    block = Layered()
    block.unfreeze_layers()
    assert block.get_param_count() == 26
    block.layers[1].requires_grad_(False)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    optimiser = torch.optim.SGD(block.parameters(), lr=0.1)
    block(torch.ones(5, 3)).sum().backward()
    optimiser.step()
    changed = [name for name, value in block.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["layers.0.weight", "layers.0.bias"]
    block.freeze_layers()
    assert not block(torch.ones(5, 3)).requires_grad


def test_a_block_with_layers_is_indexed_by_them():
    block = Layered()
    assert block[0] is block.layers[0]
    assert block[-1] is block.layers[1]
    body = FullyConnected(3, {}, depth=3, width=4)
    assert [body[i] for i in range(3)] == list(body.layers)
    assert list(body) == list(body.layers)


def test_a_block_without_layers_is_not_indexed():
    with pytest.raises(TypeError, match="Layerless is not a sequence of layers"):
        Layerless()[0]


@pytest.mark.parametrize("abstract", [AbsBlock, AbsBody, AbsHead, AbsMatrixHead, AbsTail])
def test_an_abstract_block_cannot_be_built(abstract):
    with pytest.raises(TypeError, match="abstract"):
        abstract()


@pytest.mark.parametrize("method", ["freeze_layers", "get_out_size", "get_param_count", "unfreeze_layers"])
def test_every_method_of_a_block_is_documented(method):
    assert inspect.getdoc(getattr(AbsBlock, method))


def test_all_public_names_are_there():
    assert sorted(blocks.__all__) == blocks.__all__
    for name in blocks.__all__:
        assert hasattr(blocks, name), name
    assert {"lookup_act", "lookup_normal_init", "lookup_uniform_init"} <= set(blocks.__all__)
