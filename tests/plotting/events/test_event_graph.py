import pytest
import torch
from torch_geometric.data import Data

from lumigraph.events.graph import CompleteGraph
from lumigraph.plotting import to_networkx

FEATS = ("px", "py", "pz", "E", "btag", "kind")


class TestNetworkx:
    def test_particles_keep_their_features_and_slots(self, batch):
        graph = to_networkx(batch, 2, FEATS)
        assert list(graph.nodes) == [0, 1, 2, 3]
        for i in range(4):
            row = dict(zip(FEATS, batch.x[1 + i].tolist(), strict=True))
            assert graph.nodes[i] == row | {"slot": batch.slot[1 + i].item()}
        assert [graph.nodes[i]["kind"] for i in range(4)] == [0, 3, 3, 3]

    def test_an_edge_goes_from_the_sender_to_the_receiver(self, batch):
        weights = torch.arange(12.0)
        graph = to_networkx(batch, 2, FEATS, weights)
        index = CompleteGraph.from_lengths(torch.tensor([4])).edge_index()
        assert list(map(tuple, index.T.tolist())) == [(j, i) for i in range(4) for j in graph if i != j]
        found = {pair: value for *pair, value in map(tuple, graph.edges.data("weight")) for pair in [tuple(pair)]}
        assert found == dict(zip(map(tuple, index.T.tolist()), weights.tolist(), strict=True))
        assert graph.edges[1, 0]["weight"] == 0.0  # the first edge: of particle 1 on particle 0

    def test_the_graph_keeps_the_features_of_the_event(self, batch):
        graph = to_networkx(batch, 2, FEATS)
        assert graph.graph == {"u": [4.0, 5.0], "y": [2.0], "weight": 2.0}
        assert to_networkx(Data(x=batch.x[1:3]), 0, FEATS).graph == {}

    def test_the_batch_knows_its_names(self, batch):
        told, known, alone = to_networkx(batch, 2, FEATS), to_networkx(batch, 2), to_networkx(batch[2])
        for graph in (known, alone):
            assert dict(graph.nodes.data()) == dict(told.nodes.data())
            assert graph.graph == told.graph

    @pytest.mark.parametrize(("event", "num_particles"), [(0, 0), (1, 1), (3, 0)])
    def test_no_edges(self, batch, event, num_particles):
        graph = to_networkx(batch, event, FEATS, torch.zeros(0))
        assert (graph.number_of_nodes(), graph.number_of_edges()) == (num_particles, 0)
        assert graph.graph["y"] == [event]

    def test_two_hundred_particles(self, batch):
        graph = to_networkx(batch, 4, FEATS)
        assert (graph.number_of_nodes(), graph.number_of_edges()) == (200, 200 * 199)

    def test_errors(self, batch):
        with pytest.raises(ValueError, match="event must be a number from 0 to 4, got 5: the batch has 5"):
            to_networkx(batch, 5, FEATS)
        with pytest.raises(
            ValueError, match=r"edge_weights must have the shape \(12,\), a number per ordered edge, got \(3,\)"
        ):
            to_networkx(batch, 2, FEATS, [1.0, 2.0, 3.0])
        with pytest.raises(
            ValueError,
            match=r"batch.x must have a column for each of the feats_per_vec \['px'\], got the shape \(205, 6\)",
        ):
            to_networkx(Data(x=batch.x), 0, ["px"])
        with pytest.raises(ValueError, match=r"feats_per_vec must be that of the batch, .*without py"):
            to_networkx(batch, 2, ["px"])
        with pytest.raises(ValueError, match="the batch must know the names of its features, got none"):
            to_networkx(Data(x=batch.x))
