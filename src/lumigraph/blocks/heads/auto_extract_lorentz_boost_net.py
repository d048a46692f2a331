"""The head that is a Lorentz boost network with learned features."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...events.checks import check_counts, check_dropout
from ...nn.lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from ...nn.mlp import BatchNorm, mlp
from .lorentz_boost_net import LorentzBoostNet

__all__ = ["AutoExtractLorentzBoostNet"]


class AutoExtractLorentzBoostNet(LorentzBoostNet):
    """Learn combinations of four-momenta, rest frames for them, and features of the boosted combinations.

    The boosted four-momenta are normalised over the batch. One network then extracts features from each of them,
    another from each pair of them.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec, n_particles
        See `LorentzBoostNet`.
    depth
        Number of layers of each network, including the output layer.
    width
        Width of the hidden layers.
    n_singles, n_pairs
        Number of features of each boosted four-momentum, and of each pair of them.
    act
        Activation of all layers, including the output layer.
    do
        Dropout rate after each layer.
    bn
        Whether to normalise over the batch after each layer.
    lookup_init, lookup_act
        Functions that return the initialisation and the activation by name.
    freeze
        Whether to start untrainable.
    validate, mode, n_frames
        See `LorentzBoostNet`.
    pre_norm
        Whether to normalise the boosted four-momenta. Without it the networks see them in GeV.
    **kargs
        See `AbsMatrixHead`.

    Raises
    ------
    ValueError
        If there is no layer, no feature to extract or no pair to extract it from, or as in `LorentzBoostNet`.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, slots, F); returns (B, n * n_singles + n(n-1)/2 * n_pairs) for n boosted
    four-momenta: the features of the first, of the second, ..., then those of the pairs (0,1), (0,2), ..., (n-2,n-1),
    then the further features as in `LorentzBoostNet`.

    **Units, symmetry.** As in `LorentzBoostNet`.

    References
    ----------
    .. [1] M. Erdmann et al., arXiv:1812.09722.

    Examples
    --------
    >>> names = [f"{v}_{f}" for v in ("a", "b") for f in ("px", "py", "pz", "E")]
    >>> net = AutoExtractLorentzBoostNet(names, ["a", "b"], ["px", "py", "pz", "E"], n_particles=6, depth=3, width=10,
    ...                                  n_singles=3, n_pairs=2)
    >>> net((None, torch.tensor([[[1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 0.0, 4.0]]]))).shape
    torch.Size([1, 48])
    """

    def __init__(
        self,
        cont_feats: Sequence[str],
        vecs: Sequence[str],
        feats_per_vec: Sequence[str],
        n_particles: int,
        depth: int,
        width: int,
        n_singles: int = 0,
        n_pairs: int = 0,
        act: str = "swish",
        do: float | int | None = 0,
        bn: bool = False,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze: bool = False,
        validate: bool = True,
        mode: str = "pairs",
        n_frames: int | None = None,
        pre_norm: bool = True,
        **kargs: Any,
    ) -> None:
        check_counts(0, n_singles=n_singles, n_pairs=n_pairs)
        check_counts(depth=depth, width=width)
        do = check_dropout("do", do)
        if n_singles == n_pairs == 0:
            raise ValueError(
                "n_singles or n_pairs, the numbers of features of each boosted particle and pair, must be at least 1, "
                "got 0 and 0"
            )
        # the parent needs these numbers, see check_out_sz
        self.n_singles, self.n_pairs = n_singles, n_pairs
        super().__init__(
            cont_feats, vecs, feats_per_vec, n_particles, bn=False, lookup_init=lookup_init, lookup_act=lookup_act,
            validate=validate, mode=mode, n_frames=n_frames, **kargs,
        )  # fmt: skip
        if n_pairs and not self.comb:
            raise ValueError(
                f"n_pairs must be 0 without two boosted particles to make a pair, got {n_pairs} with n_particles="
                f"{n_particles}: set n_pairs=0 or more particles"
            )
        self.pre_bn = BatchNorm(4 * self.n_boosted) if pre_norm else None
        hidden = [width] * (depth - 1)
        options: dict[str, Any] = {
            "act": act, "dropout": do, "norm": bn, "lookup_init": lookup_init, "lookup_act": lookup_act
        }  # fmt: skip
        self.single_nn = mlp([4, *hidden, n_singles], **options) if n_singles else None
        self.pair_nn = mlp([8, *hidden, n_pairs], **options) if n_pairs else None
        if freeze:
            self.freeze_layers()

    def check_out_sz(self) -> int:
        """Return the number of extracted features."""
        return self.n_boosted * self.n_singles + len(self.comb) * self.n_pairs

    def feat_extractor(self, x: Float[Tensor, "events n 4"]) -> Tensor:
        """Return the learned features of the boosted four-momenta, particle by particle, then pair by pair."""
        if self.pre_bn is not None:
            x = self.pre_bn(x.flatten(1)).view_as(x)
        features = []
        if self.single_nn is not None:
            features.append(self.single_nn(x.flatten(0, 1)).view(x.size(0), self.n_boosted * self.n_singles))
        if self.pair_nn is not None:
            first, second = torch.triu_indices(x.size(1), x.size(1), 1, device=x.device)
            pairs = torch.cat([x[:, first], x[:, second]], dim=2)
            features.append(self.pair_nn(pairs.flatten(0, 1)).view(x.size(0), len(self.comb) * self.n_pairs))
        return torch.cat(features, dim=1)
