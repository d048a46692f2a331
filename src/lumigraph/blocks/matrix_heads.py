"""Heads for particles: whatever the form of the input, the particles of an event become the nodes of a graph."""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data

from ..adapters import particles_of
from ..graph import CompleteGraph, ptr_to_batch
from ..nn.interaction import InteractionConv
from ..nn.lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from ..nn.lorentz_boost import LorentzBoostConv, pair_cosines
from ..nn.mlp import BatchNorm, Standardise
from ..nn.pooling import check_pooling, pool
from ..particles import CellMap, Particles, check_matrix, particles_from_rows
from ..schema import near
from .head import AbsHead, Inputs, Scaling

__all__ = ["AbsMatrixHead", "InteractionNet", "LorentzBoostNet"]


class AbsMatrixHead(AbsHead):
    """A head for particles: it says what becomes of them in `embed`, on plain tensors.

    Parameters
    ----------
    cont_feats
        Names ``{vec}_{feat}`` of the columns that exist in a flat input, in their order.
    vecs
        Names of the objects: the slots.
    feats_per_vec
        Names of the features per object.
    **kargs
        ``cat_embedder=None`` is accepted, so that a builder can offer one.

    Raises
    ------
    TypeError
        If an argument is unknown.
    ValueError
        If a name fits nothing, or there are categories, which only a `MultiHead` can use beside particles.
    """

    #: whether the matrix of a tuple is (events, slots, features), not (events, features, slots)
    row_wise: ClassVar[bool]

    def __init__(
        self, cont_feats: Sequence[str], vecs: Sequence[str], feats_per_vec: Sequence[str], **kargs: Any
    ) -> None:
        categories = kargs.pop("cat_embedder", None)
        if kargs:
            name, known = next(iter(kargs)), list(inspect.signature(type(self)).parameters)[:-1]
            raise TypeError(f"{type(self).__name__} has no argument {name!r}: {near(name, known)}")
        if categories is not None and categories.n_cat_in:
            raise ValueError(
                f"{type(self).__name__} takes particles only, nothing would use the categories "
                f"{categories.cat_names}: put a MultiHead around it"
            )
        super().__init__(cont_feats)
        self.cells = CellMap(cont_feats, vecs, feats_per_vec)
        self.vecs, self.feats_per_vec = self.cells.vecs, self.cells.feats_per_vec
        self.n_v, self.n_fpv = len(self.vecs), len(self.feats_per_vec)
        if not self.n_v or not self.n_fpv:
            raise ValueError(f"vecs and feats_per_vec must not be empty, got {vecs!r} and {feats_per_vec!r}")
        self._refuse_missing_features()

    def _refuse_missing_features(self) -> None:
        # one object alone may well lack a feature (a MET pz); one that no object has is a misspelt name
        lookup = torch.tensor(self.cells.lookup).view(len(self.vecs), -1)
        for i, feat in enumerate(self.feats_per_vec):
            if len(self.vecs) > 1 and bool((lookup[:, i] < 0).all()):
                wanted = f"{self.vecs[0]}_{feat}"
                raise ValueError(
                    f"no object has the feature {feat!r}: none of its columns {{vec}}_{feat} is in cont_feats "
                    f"({near(wanted, self.cont_feats)})"
                )

    @abstractmethod
    def embed(
        self,
        x: Float[Tensor, "particles features"],
        slot: Int[Tensor, " particles"],
        ptr: Int[Tensor, " events_plus_1"],
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event, from plain tensors."""

    def forward(self, x: Inputs) -> Tensor:
        """Return one vector per event, (B, get_out_size()).

        Parameters
        ----------
        x
            A flat tensor (B, len(cont_feats)), a tuple (flat, matrix) of which the matrix is used, or a Batch.
        """
        return self.embed(*self.particles(x))

    def particles(self, x: Inputs) -> Particles:
        """Return the particles of any form of input as plain tensors."""
        if isinstance(x, Data):
            found = particles_of(x)
            if found.x.size(1) != self.n_fpv:
                raise ValueError(
                    f"the batch has {found.x.size(1)} features per particle, the head expects {self.n_fpv}: "
                    f"{self.feats_per_vec}"
                )
            return found
        if isinstance(x, (tuple, list)):
            matrix = x[1]
            layout = "(events, slots, features)" if self.row_wise else "(events, features, slots)"
            check_matrix(matrix, layout)
            rows = matrix if self.row_wise else matrix.transpose(1, 2)
            if rows.size(2) != self.n_fpv:
                raise ValueError(
                    f"the matrix must be {layout} with the {self.n_fpv} features {self.feats_per_vec}, got the shape "
                    f"{tuple(matrix.shape)}"
                )
            return particles_from_rows(rows)
        if not isinstance(x, Tensor):
            raise TypeError(f"a head takes a tensor, a tuple (flat, matrix) or a Batch, got {type(x).__name__}")
        return self.cells.particles(x)


class InteractionNet(AbsMatrixHead):
    """Let every particle of an event hear all the others, then aggregate the particles.

    An `lumigraph.nn.InteractionConv` on the complete graph of each event, followed by pooling.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec
        See `AbsMatrixHead`.
    intfunc_depth, intfunc_width, intfunc_out_sz
        Layers (the output layer included), hidden width and output width of the function of two particles.
    outfunc_depth, outfunc_width, outfunc_out_sz
        The same for the function that updates a particle.
    agg_method
        ``sum``, ``mean`` or ``max`` over particles, for any multiplicity; ``flatten`` keeps a place per slot.
    do
        Dropout rate.
    bn
        Whether to use batch normalisation.
    act
        Activation of every layer, the last ones included.
    lookup_init, lookup_act
        Functions that give the initialisation and the activation by name.
    freeze
        Whether to start untrainable.
    **kargs
        See `AbsMatrixHead`.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, F, slots); returns (B, outfunc_out_sz), for ``flatten``
    (B, outfunc_out_sz * slots). An event without particles gives 0.

    **Symmetry.** ``sum``, ``mean`` and ``max`` do not depend on the order of the particles.

    References
    ----------
    .. [1] P. Battaglia et al., arXiv:1612.00222; E. Moreno et al., arXiv:1908.05318.

    Examples
    --------
    >>> net = InteractionNet(["a_px", "a_py", "b_px"], ["a", "b"], ["px", "py"], intfunc_depth=2, intfunc_width=4,
    ...                      intfunc_out_sz=3, outfunc_depth=2, outfunc_width=5, outfunc_out_sz=4, agg_method="sum")
    >>> net(torch.rand(7, 3)).shape
    torch.Size([7, 4])
    """

    row_wise = False

    def __init__(
        self,
        cont_feats: Sequence[str],
        vecs: Sequence[str],
        feats_per_vec: Sequence[str],
        intfunc_depth: int,
        intfunc_width: int,
        intfunc_out_sz: int,
        outfunc_depth: int,
        outfunc_width: int,
        outfunc_out_sz: int,
        agg_method: str,
        do: float | int | None = 0,
        bn: bool = False,
        act: str = "relu",
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze: bool = False,
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        for name, depth in (("intfunc_depth", intfunc_depth), ("outfunc_depth", outfunc_depth)):
            if depth < 1:
                raise ValueError(f"{name} must be at least 1 (it counts the output layer), got {depth}")
        self.agg_method = check_pooling("agg_method", agg_method)
        self.outfunc_out_sz = outfunc_out_sz
        self.scale = Standardise(self.n_fpv)
        self.conv = InteractionConv(
            self.n_fpv,
            intfunc_out_sz,
            outfunc_out_sz,
            effect_hidden=[intfunc_width] * (intfunc_depth - 1),
            out_hidden=[outfunc_width] * (outfunc_depth - 1),
            act=act,
            dropout=do or 0.0,
            norm=bn,
            lookup_init=lookup_init,
            lookup_act=lookup_act,
        )
        self.feat_map = {name: list(range(self.get_out_size())) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.outfunc_out_sz * (self.n_v if self.agg_method == "flatten" else 1)

    def set_scaling(self, *, u: Scaling | None = None, x: Scaling | None = None) -> None:
        """Standardise the particle features from now on."""
        if x is not None:
            self.scale.set(*x)

    def embed(
        self,
        x: Float[Tensor, "particles features"],
        slot: Int[Tensor, " particles"],
        ptr: Int[Tensor, " events_plus_1"],
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event, from plain tensors."""
        return pool(self.conv(self.scale(x), CompleteGraph(ptr)), slot, ptr, self.agg_method, self.n_v)


class LorentzBoostNet(AbsMatrixHead):
    """Learn combinations of four-momenta and rest frames for them, and extract features from the boosted ones.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec
        See `AbsMatrixHead`. The four-momentum is found by the names px, py, pz and E (or energy) among
        ``feats_per_vec``; further features (a b-tag) are carried to the output beside the boosted ones, slot by slot.
    n_particles
        Number of combinations, each with its rest frame.
    feat_extractor
        Function of the boosted four-momenta (B, n_particles, 4), or a module, that is trained with the rest; what it
        returns is flattened per event. By default the method of this name.
    bn
        Whether to normalise the output over the batch.
    lookup_init, lookup_act
        For heads that inherit; not used here.
    freeze
        Whether to start untrainable.
    validate
        Whether to refuse four-momenta with E < abs(p), beyond rounding. Without it they give finite numbers without
        meaning.
    **kargs
        See `AbsMatrixHead`.

    Raises
    ------
    ValueError
        If a component of the four-momentum has no column, an event has more particles than slots, or a four-momentum
        is unphysical.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, slots, F); returns (B, features), by default 4n + n(n-1)/2 of them for n
    combinations, and slots times the number of further features behind them.

    **Units.** GeV, not standardised; see `lumigraph.nn.LorentzBoostConv` for frames that have no rest frame.

    **Symmetry.** None under permutation: each slot has weights of its own.

    References
    ----------
    .. [1] M. Erdmann et al., arXiv:1812.09722.

    Examples
    --------
    >>> names = [f"{v}_{f}" for v in ("a", "b") for f in ("px", "py", "pz", "E")]
    >>> net = LorentzBoostNet(names, ["a", "b"], ["px", "py", "pz", "E"], n_particles=3)
    >>> net((None, torch.tensor([[[1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 0.0, 4.0]]]))).shape
    torch.Size([1, 15])
    """

    row_wise = True

    def __init__(
        self,
        cont_feats: Sequence[str],
        vecs: Sequence[str],
        feats_per_vec: Sequence[str],
        n_particles: int,
        feat_extractor: Callable[[Tensor], Tensor] | None = None,
        bn: bool = True,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze: bool = False,
        validate: bool = True,
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        self.n_particles = n_particles
        self.validate = validate
        self.lookup_init, self.lookup_act = lookup_init, lookup_act
        self.p4_columns = _p4_columns(self.feats_per_vec)
        self.further = [i for i in range(self.n_fpv) if i not in self.p4_columns]
        self.scale = Standardise(len(self.further))
        self.conv = LorentzBoostConv(self.n_v, n_particles)
        self.comb = torch.combinations(torch.arange(n_particles)).tolist()
        self.extractor = feat_extractor
        self.out_sz = self.check_out_sz() + self.n_v * len(self.further)
        self.bn = BatchNorm(self.out_sz) if bn else None
        self.feat_map = {name: list(range(self.out_sz)) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.out_sz

    def set_scaling(self, *, u: Scaling | None = None, x: Scaling | None = None) -> None:
        """Standardise the further features from now on; four-momenta stay as they are."""
        if x is not None:
            self.scale.set(x[0][self.further], x[1][self.further])

    def feat_extractor(self, x: Float[Tensor, "events n 4"]) -> Tensor:
        """Return the boosted four-momenta and the cosines between every two of them, (B, 4n + n(n-1)/2)."""
        return torch.cat([x.flatten(1), pair_cosines(x)], dim=1)

    def check_out_sz(self) -> int:
        """Return how many features are extracted, by extracting them from four-momenta made up without randomness."""
        p = torch.sin(torch.arange(2.0 * self.n_particles * 3)).view(2, self.n_particles, 3).to(self.conv.part_wgts)
        made_up = torch.cat([p, 2 * p.norm(dim=-1, keepdim=True)], dim=-1)
        modes = {m: m.training for m in self.modules()}
        self.eval()
        with torch.no_grad():
            width = self._extract(made_up).size(1)
        for module, training in modes.items():
            module.training = training
        return width

    def _extract(self, boosted: Tensor) -> Tensor:
        return (self.feat_extractor if self.extractor is None else self.extractor)(boosted).flatten(1)

    def embed(
        self,
        x: Float[Tensor, "particles features"],
        slot: Int[Tensor, " particles"],
        ptr: Int[Tensor, " events_plus_1"],
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event, from plain tensors."""
        p4 = x[:, self.p4_columns]
        if self.validate:
            self._check_physical(p4, slot, ptr)
        features = self._extract(self.conv(p4, slot, ptr))
        if self.further:
            carried = pool(self.scale(x[:, self.further]), slot, ptr, "flatten", self.n_v)
            features = torch.cat([features, carried], dim=1)
        return features if self.bn is None else self.bn(features)

    def _check_physical(self, p4: Tensor, slot: Tensor, ptr: Tensor) -> None:
        p = p4.detach().double()
        bad = ~(p[:, 3] >= p[:, :3].norm(dim=1) * (1 - 1e-4))  # also where a number is NaN
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            event, place = int(ptr_to_batch(ptr, p4.size(0))[row]), int(slot[row])
            name = self.vecs[place] if place < self.n_v else f"slot {place}"
            raise ValueError(
                f"event {event}: particle {name!r} has E = {float(p[row, 3]):g} and |p| = "
                f"{float(p[row, :3].norm()):g} GeV; a boost needs E >= |p|, so give four-momenta that are not "
                "standardised, with a positive energy (validate=False turns this check off)"
            )


def _p4_columns(feats_per_vec: Sequence[str]) -> list[int]:
    lowered = {name.lower(): i for i, name in reversed(list(enumerate(feats_per_vec)))}
    columns = []
    for names in (("px",), ("py",), ("pz",), ("e", "energy")):
        found = [lowered[name] for name in names if name in lowered]
        if not found:
            raise ValueError(
                f"the four-momentum has no column {names[0]!r} in feats_per_vec={list(feats_per_vec)}: it is found by "
                "the names px, py, pz and E (or energy)"
            )
        columns.append(found[0])
    return columns
