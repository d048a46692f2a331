import pytest
import torch
from torch import nn

from lumigraph import InteractionNet, LorentzBoostNet, MultiHead
from lumigraph.plotting.events.heads import find_head, particles_of_event

NAMES = ["a_px", "a_py", "a_pz", "a_E"]
SIZES = {f"{f}_{s}": 2 for f in ("intfunc", "outfunc") for s in ("depth", "width", "out_sz")}


def network():
    return InteractionNet(NAMES, ["a"], ["px", "py", "pz", "E"], **SIZES, agg_method="sum")


class TestFindHead:
    def test_it_is_found_wherever_it_stands(self):
        net = network()
        assert find_head(net, InteractionNet) is net
        assert find_head(nn.Sequential(nn.Sequential(net), nn.Linear(2, 1)), InteractionNet) is net
        args = {"vecs": ["a"], "feats_per_vec": ["px", "py", "pz", "E"], "n_particles": 2}
        multi = MultiHead(["ht", *NAMES], matrix_head=LorentzBoostNet, **args)
        assert find_head(multi, LorentzBoostNet) is multi.matrix_head

    def test_errors(self, plain_python):
        with pytest.raises(ValueError, match="the InteractionNet must have one LorentzBoostNet, got none"):
            find_head(network(), LorentzBoostNet)
        with pytest.raises(ValueError, match=r"the Sequential must have one .*, got 2: pass the one to draw"):
            find_head(nn.Sequential(network(), network()), InteractionNet)
        with pytest.raises(TypeError, match=r"the model must be a .*, or a module or Model that has one, got 'a file'"):
            find_head("a file", InteractionNet)


def test_particles_of_one_event_in_the_precision_of_the_head(batch):
    found = particles_of_event(batch, 2, network())
    assert torch.equal(found.x, batch.x[1:5].float())
    assert (found.slot.tolist(), found.ptr.tolist()) == ([0, 1, 2, 3], [0, 4])
    with pytest.raises(ValueError, match="event must be a number from 0 to 4, got -1"):
        particles_of_event(batch, -1, network())
