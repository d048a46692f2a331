"""The head that is a Lorentz boost network."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...events.checks import check_counts
from ...events.errors import EventError
from ...nn.boost_features import boost_features, pair_cosines
from ...nn.lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from ...nn.lorentz_boost import LorentzBoostConv
from ...nn.mlp import BatchNorm
from ...nn.scaling import Standardise
from ..block import evaluating
from .abs_head import AbsMatrixHead, AnyScaling, p4_columns

__all__ = ["LorentzBoostNet"]


class LorentzBoostNet(AbsMatrixHead):
    """Learn combinations of four-momenta and rest frames for them, and extract features of the boosted combinations.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec
        See `AbsMatrixHead`. The four-momentum is found by the names px, py, pz and E (or energy) among
        ``feats_per_vec``; further features (such as a b-tag) are passed to the output, slot by slot.
    n_particles
        Number of combinations, each with its own rest frame unless ``mode`` says otherwise.
    feat_extractor
        Names of features (see `lumigraph.nn.boost_features.boost_features`), a function of the boosted four-momenta
        (B, n, 4), or a module, which is trained with the rest. Its output is flattened per event. The default is the
        method of this name.
    bn
        Whether to normalise the output over the batch.
    lookup_init, lookup_act
        For subclasses; not used here.
    freeze
        Whether to start untrainable.
    validate
        Whether to refuse four-momenta with E < abs(p), beyond rounding. Otherwise they give finite but meaningless
        numbers.
    mode, n_frames
        Which combinations are boosted into which frames: ``pairs``, ``product`` or ``combinations``, and the number of
        frames for ``product``; see `lumigraph.nn.LorentzBoostConv`.
    **kargs
        See `AbsMatrixHead`.

    Raises
    ------
    ValueError
        If a component of the four-momentum has no column, a feature is unknown, the numbers do not fit the mode, an
        event has more particles than slots, or a four-momentum is unphysical.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, slots, F); returns (B, features): by default 4n + n(n-1)/2 of n boosted
    four-momenta (``n_boosted``, equal to n_particles unless ``mode`` says otherwise), then slots times the number of
    further features.

    A subclass may define its own method ``feat_extractor``. ``comb`` is the list of index pairs [i, j], i < j, of
    boosted four-momenta: ``for i, j in self.comb``, or ``x[:, self.comb]`` of shape (B, pairs, 2, 4).

    **Units.** GeV, not standardised; see `lumigraph.nn.LorentzBoostConv` for frames without a rest frame.

    **Symmetry.** None under permutation: each slot has its own weights.

    References
    ----------
    .. [1] M. Erdmann et al., arXiv:1812.09722.

    Examples
    --------
    >>> names = [f"{v}_{f}" for v in ("a", "b") for f in ("px", "py", "pz", "E")]
    >>> net = LorentzBoostNet(names, ["a", "b"], ["px", "py", "pz", "E"], n_particles=3)
    >>> net((None, torch.tensor([[[1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 0.0, 4.0]]]))).shape
    torch.Size([1, 15])

    Features by name, of every combination in every frame:

    >>> net = LorentzBoostNet(names, ["a", "b"], ["px", "py", "pz", "E"], n_particles=3, mode="product", n_frames=2,
    ...                       feat_extractor=["E", "pair_cos"])
    >>> net.get_out_size()
    21
    """

    row_wise = True

    def __init__(
        self,
        cont_feats: Sequence[str],
        vecs: Sequence[str],
        feats_per_vec: Sequence[str],
        n_particles: int,
        feat_extractor: Callable[[Tensor], Tensor] | Sequence[str] | None = None,
        bn: bool = True,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze: bool = False,
        validate: bool = True,
        mode: str = "pairs",
        n_frames: int | None = None,
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        check_counts(n_particles=n_particles, **({} if n_frames is None else {"n_frames": n_frames}))
        self.n_particles = n_particles
        self.validate = validate
        self.lookup_init, self.lookup_act = lookup_init, lookup_act
        self.p4_columns = p4_columns(self.feats_per_vec)
        self.further = [i for i in range(self.n_fpv) if i not in self.p4_columns]
        self.scale = Standardise(len(self.further))
        self.conv = LorentzBoostConv(self.n_v, n_particles, mode=mode, num_frames=n_frames)
        self.n_boosted = self.conv.num_outputs
        self.comb = torch.combinations(torch.arange(self.n_boosted)).tolist()
        self.extractor = _extractor(feat_extractor)
        self.out_sz = self.check_out_sz() + self.n_v * len(self.further)
        self.bn = BatchNorm(self.out_sz) if bn else None
        self.feat_map = {name: list(range(self.out_sz)) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.out_sz

    def set_scaling(self, *, u: AnyScaling | None = None, x: AnyScaling | None = None) -> None:
        """Standardise the further features from now on; four-momenta remain unchanged.

        Raises
        ------
        ValueError
            If a component of the four-momentum is transformed or limited: it would no longer be a four-momentum.
        """
        if x is not None:
            self.scale.set(*self.scaling_beside(x, self.p4_columns))

    def feat_extractor(self, x: Float[Tensor, "events n 4"]) -> Tensor:
        """Return the boosted four-momenta and the cosines between every two of them, (B, 4n + n(n-1)/2)."""
        return torch.cat([x.flatten(1), pair_cosines(x)], dim=1)

    def check_out_sz(self) -> int:
        """Return how many features are extracted, by extracting them from four-momenta made up without randomness."""
        p = torch.sin(torch.arange(2.0 * self.n_boosted * 3)).view(2, self.n_boosted, 3).to(self.conv.part_wgts)
        made_up = torch.cat([p, 2 * p.norm(dim=-1, keepdim=True)], dim=-1)
        with evaluating(self):
            features = (self.feat_extractor if self.extractor is None else self.extractor)(made_up)
        if not isinstance(features, Tensor) or features.dim() < 2 or features.size(0) != 2:
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"feat_extractor must return a tensor (events, features), got {got} for 2 events")
        return features.flatten(1).size(1)

    def _extract(self, boosted: Tensor) -> Tensor:
        return (self.feat_extractor if self.extractor is None else self.extractor)(boosted).flatten(1)

    def embed(
        self, rows: Float[Tensor, "events slots features"], mask: Bool[Tensor, "events slots"]
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event, from plain tensors."""
        p4 = self._p4(rows)
        if self.validate and not torch.compiler.is_compiling():
            self._check_physical(p4, mask)
        features = self._extract(self.conv.dense(p4))
        if self.further:
            carried = self.scale(rows[..., self.further]) * mask.unsqueeze(-1)
            features = torch.cat([features, carried.transpose(1, 2).flatten(1)], dim=1)
        return features if self.bn is None else self.bn(features)

    def refused(
        self, rows: Float[Tensor, "events slots features"], mask: Bool[Tensor, "events slots"]
    ) -> Bool[Tensor, "events slots"]:
        """Return the particles for which `forward` raises an error, including E < abs(p) unless it is allowed."""
        nan = super().refused(rows, mask)
        return nan | (_unphysical(self._p4(rows)) & mask) if self.validate else nan

    def _p4(self, rows: Tensor) -> Tensor:
        columns = rows.unbind(-1)
        return torch.stack([columns[i] for i in self.p4_columns]).permute(1, 2, 0)

    def _check_physical(self, p4: Tensor, mask: Tensor) -> None:
        bad = _unphysical(p4) & mask
        if bool(bad.any()):
            event, slot = bad.nonzero()[0].tolist()
            momentum, energy = p4[event, slot, :3].detach().double().norm(), p4[event, slot, 3]
            raise EventError(
                f"particle {self.vecs[slot]!r} must have E >= |p| to be boosted, got E = {float(energy):g} and |p| = "
                f"{float(momentum):g} GeV: give four-momenta that are not standardised, with a positive energy "
                "(validate=False turns this check off)",
                event=event,
            )


def _unphysical(p4: Tensor) -> Tensor:
    """Return which four-momenta have E < |p|, beyond rounding, or a number that is NaN or infinite."""
    p = p4.detach().double()
    momentum = p[..., :3].square().sum(-1).sqrt()
    return ~((p[..., 3] >= momentum * (1 - 1e-4)) & (p[..., 3] < torch.inf))


def _extractor(wanted: Callable[[Tensor], Tensor] | Sequence[str] | None) -> Callable[[Tensor], Tensor] | None:
    if wanted is None or callable(wanted):
        return wanted
    if not isinstance(wanted, Sequence):
        raise TypeError(f"feat_extractor must be a function, a module or a list of names of features, got {wanted!r}")
    return partial(boost_features, names=wanted)
