"""What every head is: the input side of a model, for event features or for particles."""

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch_geometric.data import Data

from ...events.batches import names_of, particles_of
from ...events.errors import near
from ...events.graph import ptr_to_batch
from ...events.names import Names, difference
from ...events.particles import (
    CellMap,
    Particles,
    Rows,
    check_matrix,
    fit_slots,
    pack,
    refuse_nan,
    rows_of_matrix,
    rows_of_particles,
)
from ...events.schema import different_names
from ...nn.scaling import Scaling
from ..block import AbsBlock, in_precision
from ..embedding import CatEmbedder

__all__ = ["AbsHead", "AbsMatrixHead", "AnyScaling", "Inputs", "p4_columns", "pair"]


#: What a head takes: a flat tensor, (flat, matrix), or a Batch.
Inputs: TypeAlias = Tensor | Sequence[Any] | Data
#: What is done to features, or their means and standard deviations alone.
AnyScaling: TypeAlias = Scaling | tuple[Tensor, Tensor]


def pair(x: Sequence[Any]) -> Sequence[Any]:
    """Return the two parts of a tuple, or raise a ValueError."""
    if len(x) != 2:
        raise ValueError(f"a tuple of inputs must be (flat, matrix), got {len(x)} parts")
    return x


def p4_columns(feats_per_vec: Sequence[str]) -> list[int]:
    """Return which features are px, py, pz and E, by their names, or raise a ValueError."""
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


class AbsHead(AbsBlock):
    """The input side of a model: from the features of an event to one vector.

    Parameters
    ----------
    cont_feats
        Names of the continuous inputs.
    cat_embedder
        The categories; none if not given.
    """

    def __init__(self, cont_feats: Sequence[str], cat_embedder: CatEmbedder | None = None) -> None:
        super().__init__()
        self.cat_embedder = CatEmbedder([], []) if cat_embedder is None else cat_embedder
        if not isinstance(self.cat_embedder, CatEmbedder):
            raise TypeError(f"cat_embedder must be a CatEmbedder, got {cat_embedder!r}")
        self.cont_feats = different_names("cont_feats", cont_feats)
        self.cat_feats = self.cat_embedder.cat_names
        both = [name for name in self.cat_feats if name in self.cont_feats]
        if both:
            raise ValueError(f"{both[0]!r} is named in cont_feats and in cat_embedder: a feature is one or the other")
        self.matrix_feats: list[str] = []
        self.feat_map: dict[str, list[int]] = {}

    @property
    def n_cont_in(self) -> int:
        """Number of continuous inputs that are no part of a matrix."""
        return len(self.cont_feats)

    @property
    def n_cat_in(self) -> int:
        """Number of categorical inputs."""
        return len(self.cat_feats)

    @property
    def n_matrix_in(self) -> int:
        """Number of inputs that are part of a matrix."""
        return len(self.matrix_feats)

    @abstractmethod
    def forward(self, x: Inputs) -> Tensor:
        """Return one vector per event, (B, get_out_size())."""

    def set_scaling(self, *, u: AnyScaling | None = None, x: AnyScaling | None = None) -> None:
        """Standardise event features u and particle features x from now on; what a head does not use it leaves.

        Parameters
        ----------
        u, x
            A `lumigraph.nn.Scaling`, or means and standard deviations alone; what is not given stays as it is.
        """


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
        ``cat_embedder=None`` and a ``lookup_init`` that the head has no use for are accepted, so that a builder can
        offer them to every head.

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
        kargs.pop("lookup_init", None)
        if kargs:
            name, known = next(iter(kargs)), list(inspect.signature(type(self)).parameters)[:-1]
            raise TypeError(f"{type(self).__name__} has no argument {name!r}: {near(name, known)}")
        super().__init__(cont_feats, categories)
        if self.cat_feats:
            raise ValueError(
                f"{type(self).__name__} takes particles only, nothing would use the categories {self.cat_feats}: put a "
                "MultiHead around it"
            )
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

    @property
    def max_particles(self) -> int | None:
        """Most particles that an event may have: the slots, or None where any number will do."""
        return self.n_v

    @abstractmethod
    def embed(
        self, rows: Float[Tensor, "events slots features"], mask: Bool[Tensor, "events slots"]
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event, from plain tensors: what ``torch.compile`` and ``torch.export`` see.

        Parameters
        ----------
        rows
            Features of the particles, a row per slot, 0 where there is none.
        mask
            Which slots hold a particle.
        """

    def refused(
        self, rows: Float[Tensor, "events slots features"], mask: Bool[Tensor, "events slots"]
    ) -> Bool[Tensor, "events slots"]:
        """Return which particles `forward` raises an error for, for what is captured and cannot: those with a NaN."""
        return rows.isnan().any(-1) & mask

    def forward(self, x: Inputs) -> Tensor:
        """Return one vector per event, (B, get_out_size()).

        Parameters
        ----------
        x
            A flat tensor (B, len(cont_feats)), a tuple (flat, matrix) of which the matrix is used, or a Batch.
        """
        return self.embed(*self.rows(x))

    def rows(self, x: Inputs) -> Rows:
        """Return the particles of any form of input, a row per slot."""
        if isinstance(x, Data):
            return rows_of_particles(self._particles_of(x), self.max_particles)
        if isinstance(x, (tuple, list)):
            found = rows_of_matrix(self._matrix(pair(x)[1]))
        elif isinstance(x, Tensor):
            found = self.cells.rows(x)
        else:
            raise TypeError(f"a head takes a tensor, a tuple (flat, matrix) or a Batch, got {type(x).__name__}")
        found = Rows(in_precision(self, found.rows), found.mask)
        return found if self.max_particles is None else fit_slots(found, self.max_particles)

    def particles(self, x: Inputs) -> Particles:
        """Return the particles of any form of input, one behind the other."""
        return self._particles_of(x) if isinstance(x, Data) else pack(self.rows(x))

    def _particles_of(self, x: Data) -> Particles:
        found = particles_of(x)
        self._refuse_other_names(names_of(x))
        if found.x.size(1) != self.n_fpv:
            raise ValueError(
                f"the batch has {found.x.size(1)} features per particle, the head expects {self.n_fpv}: "
                f"{self.feats_per_vec}"
            )
        nan = found.x.isnan()
        if bool(nan.any()):
            refuse_nan(nan, found.slot, ptr_to_batch(found.ptr, found.x.size(0)))
        return found._replace(x=in_precision(self, found.x))

    def _refuse_other_names(self, names: Names) -> None:
        """Raise a ValueError if a Batch names its columns, or the objects of the slots, otherwise than the head."""
        if names.feats_per_vec and tuple(self.feats_per_vec) != names.feats_per_vec:
            raise ValueError(
                f"the batch must have the features {self.feats_per_vec} of the head, got {list(names.feats_per_vec)}: "
                f"{difference(self.feats_per_vec, names.feats_per_vec)}"
            )
        if self.max_particles is None:
            return  # any slot is as good as another
        for slot, (own, other) in enumerate(zip(self.vecs, names.vecs, strict=False)):
            if own != other:
                raise ValueError(
                    f"slot {slot} of the batch must be the {own!r} of the head, got {other!r}: the head has vecs "
                    f"{self.vecs}, the batch {list(names.vecs)}"
                )

    def scaling_beside(self, scaling: AnyScaling, p4: Sequence[int]) -> Scaling:
        """Return what is done to the features beside the four-momentum, which is used as it is.

        Raises
        ------
        ValueError
            If a component of the four-momentum is to be transformed or limited: that is no four-momentum any more.
        """
        scaling = Scaling(*scaling)
        for i in scaling.altered():
            if i in p4:
                raise ValueError(
                    f"{type(self).__name__} takes four-momenta as they are, so that {self.feats_per_vec[i]!r} can be "
                    "neither transformed nor clipped: leave it out of transforms and clip"
                )
        return scaling.select([i for i in range(self.n_fpv) if i not in p4])

    def _matrix(self, matrix: Any) -> Tensor:
        """Return the matrix of a tuple with a row per slot."""
        layout = "(events, slots, features)" if self.row_wise else "(events, features, slots)"
        check_matrix(matrix, layout)
        rows = matrix if self.row_wise else matrix.transpose(1, 2)
        if rows.size(2) != self.n_fpv:
            raise ValueError(
                f"the matrix must be {layout} with the {self.n_fpv} features {self.feats_per_vec}, got the shape "
                f"{tuple(matrix.shape)}"
            )
        return rows
