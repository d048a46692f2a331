"""LUMIN's interaction network, in an environment with LUMIN 0.9; does not import lumigraph.

The network of LUMIN 0.9.1: ``GNNHead`` of ``InteractionNet`` and ``GraphCollapser`` on padded
constituents, followed by ``FullyConnected`` and ``ClassRegMulti``; widths are those of lumigraph. Its edges are not
those of the paper: each constituent receives only from the next one of its jet, n - 1 times.
"""

import sys
from functools import partial

say, sys.stdout = sys.stdout, sys.stderr  # LUMIN prints

from lumin.nn.models.blocks.body import FullyConnected  # noqa: E402
from lumin.nn.models.blocks.gnn_blocks import GraphCollapser, InteractionNet  # noqa: E402
from lumin.nn.models.blocks.head import GNNHead  # noqa: E402
from peer_training import Jets, run  # noqa: E402
from torch import Tensor, nn  # noqa: E402

sys.stdout = say
FEATURES = ("deta", "dphi", "log_pt", "log_E", "log_pt_rel", "log_E_rel", "dr")


class Network(nn.Module):
    """Head, body and tail of LUMIN."""

    def __init__(self, slots: int, features: int) -> None:
        super().__init__()
        vecs, feats = [f"c{i}" for i in range(slots)], [f"f{i}" for i in range(features)]
        extractor = partial(InteractionNet, intfunc_outs=[64, 64], outfunc_outs=[64, 64])
        collapser = partial(GraphCollapser, flatten=False)
        cells = [f"{vec}_{feat}" for vec in vecs for feat in feats]
        self.head = GNNHead(cells, vecs, feats, extractor, collapser)
        self.body = FullyConnected(self.head.get_out_size(), self.head.feat_map, depth=2, width=64)
        self.tail = nn.Linear(self.body.get_out_size(), 1)  # ClassRegMulti without the sigmoid, which is in the loss

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.tail(self.body(self.head((x.new_zeros(len(x), 0), x)))).flatten()


def make(jets: Jets) -> nn.Module:
    """Return the network, for features that are standardised, as LUMIN's users do before they write their files."""
    jets.standardise()
    return Network(*jets.x.shape[1:])


def score(net: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """Return the logit of a top; the matrix is (jets, features, constituents), 0 in empty slots."""
    return net(x.transpose(1, 2))


if __name__ == "__main__":
    run(FEATURES, make, score, lr=3e-3, weight_decay=1e-2, final_lr=1e3)
