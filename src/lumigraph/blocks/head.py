"""Heads: the input side of a model (elsewhere the word means its output side; here, as in LUMIN, that is the tail).

A head takes a flat tensor, a tuple (flat, matrix) or a Batch, and returns one vector per event.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from ..nn.lookups import LookupInit, lookup_normal_init
from ..nn.mlp import Standardise, check_dropout
from ..particles import floating
from ..schema import cell_names, near
from .block import AbsBlock
from .embedding import CatEmbedder

__all__ = ["AbsHead", "CatEmbHead", "Inputs", "MultiHead", "Scaling"]

#: What a head takes: a flat tensor, (flat, matrix), or a Batch.
Inputs: TypeAlias = Tensor | Sequence[Any] | Data
#: Means and standard deviations of features.
Scaling: TypeAlias = tuple[Tensor, Tensor]


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
        repeated = [name for name in cont_feats if list(cont_feats).count(name) > 1]
        if isinstance(cont_feats, str) or repeated:
            raise ValueError(f"cont_feats must be a list of different names, got {cont_feats!r}")
        self.cat_embedder = CatEmbedder([], []) if cat_embedder is None else cat_embedder
        self.cont_feats = list(cont_feats)
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

    def set_scaling(self, *, u: Scaling | None = None, x: Scaling | None = None) -> None:
        """Standardise event features u and particle features x from now on; what a head does not use it leaves."""


class CatEmbHead(AbsHead):
    """Pass continuous event features on, beside a learned embedding of each category.

    Parameters
    ----------
    cont_feats
        Names of the continuous features, the first columns of a flat input.
    do_cont
        Dropout rate for the continuous features.
    do_cat
        Dropout rate for the embeddings.
    cat_embedder
        The categories, the columns behind the continuous ones.
    lookup_init
        Taken for the sake of a common signature; embeddings start as N(0, 1).
    freeze
        Whether to start untrainable.

    Raises
    ------
    ValueError
        If the input has another width than the names, or a code lies beyond its embedding.

    Notes
    -----
    **Shape.** Flat (B, continuous + categories) or a Batch with ``u`` and ``cat``; returns (B, continuous + sum of
    embedding widths).

    Examples
    --------
    >>> head = CatEmbHead(["ht", "met"], cat_embedder=CatEmbedder(["flavour"], [3]))
    >>> head(torch.tensor([[300.0, 50.0, 2.0]])).shape
    torch.Size([1, 4])
    """

    def __init__(
        self,
        cont_feats: Sequence[str],
        do_cont: float | int | None = 0,
        do_cat: float | int | None = 0,
        cat_embedder: CatEmbedder | None = None,
        lookup_init: LookupInit = lookup_normal_init,
        freeze: bool = False,
    ) -> None:
        super().__init__(cont_feats, cat_embedder)
        self.lookup_init = lookup_init
        self.scale = Standardise(self.n_cont_in)
        self.do_cont = nn.Dropout(check_dropout("do_cont", do_cont))
        self.do_cat = nn.Dropout(check_dropout("do_cat", do_cat))
        self.embeds = nn.ModuleList(nn.Embedding(size, width) for _, size, width in self.cat_embedder)
        self.feat_map = {name: [i] for i, name in enumerate(self.cont_feats)}
        start = self.n_cont_in
        for name, _, width in self.cat_embedder:
            self.feat_map[name] = list(range(start, start + width))
            start += width
        if self.cat_embedder.emb_load_path is not None:
            self._load_embeds(self.cat_embedder.emb_load_path)
        if freeze:
            self.freeze_layers()

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.n_cont_in + sum(self.cat_embedder.emb_szs)

    def set_scaling(self, *, u: Scaling | None = None, x: Scaling | None = None) -> None:
        """Standardise the continuous features from now on."""
        if u is not None:
            self.scale.set(*u)

    def forward(self, x: Inputs) -> Tensor:
        """Return continuous features and embeddings, (B, get_out_size())."""
        return self.embed(*self._columns(x))

    def embed(self, cont: Tensor, codes: Tensor) -> Tensor:
        """Return the output for continuous features (B, n_cont_in) and integer codes (B, n_cat_in)."""
        parts = [self.do_cont(self.scale(cont))]
        for i, (name, embedding) in enumerate(self._named_embeds()):
            code = codes[:, i]
            beyond = (code < 0) | (code >= embedding.num_embeddings)
            if bool(beyond.any()):
                event = int(beyond.nonzero()[0])
                raise ValueError(
                    f"event {event}: category {name!r} has the code {int(code[event])}, but its embedding knows 0 to "
                    f"{embedding.num_embeddings - 1}; "
                    "build the model with the cardinality of all events (cat_szs)"
                )
            parts.append(self.do_cat(embedding(code)))
        return torch.cat(parts, dim=1)

    def _columns(self, x: Inputs) -> tuple[Tensor, Tensor]:
        if isinstance(x, Data):
            num_events = len(x.cat) if "cat" in x else x.num_graphs if "ptr" in x else 1
            cont = x.u if "u" in x else self.scale.mean.new_zeros(num_events, 0)
            codes = x.cat if "cat" in x else cont.new_zeros(cont.size(0), 0).long()
            for field, value, names in (("u", cont, self.cont_feats), ("cat", codes, self.cat_feats)):
                if value.size(1) != len(names):
                    raise ValueError(
                        f"the batch has {value.size(1)} columns in {field!r}, the head expects {len(names)}: {names}"
                    )
            return cont, codes
        if isinstance(x, (tuple, list)):
            x = x[0]
        if not isinstance(x, Tensor) or x.dim() != 2 or x.size(1) != self.n_cont_in + self.n_cat_in:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"the flat input must be a tensor (events, {self.n_cont_in + self.n_cat_in}) of {self.n_cont_in} "
                f"continuous and {self.n_cat_in} categorical columns, got {got}"
            )
        return floating(x[:, : self.n_cont_in]), x[:, self.n_cont_in :].long()

    def get_embeds(self) -> dict[str, dict[str, Tensor]]:
        """Return the state_dict of the embedding of each category."""
        return {name: embedding.state_dict() for name, embedding in self._named_embeds()}

    def _named_embeds(self) -> list[tuple[str, nn.Embedding]]:
        return [(name, cast(nn.Embedding, e)) for name, e in zip(self.cat_feats, self.embeds, strict=True)]

    def save_embeds(self, path: str | Path) -> None:
        """Save each embedding in a file of its own, ``{name}.h5``, in a folder that is made if need be."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, state in self.get_embeds().items():
            torch.save(state, folder / f"{name}.h5")

    def _load_embeds(self, folder: Path) -> None:
        for name, embedding in self._named_embeds():
            file = folder / f"{name}.h5"
            if not file.is_file():
                raise ValueError(f"there is no saved embedding of {name!r}: {file} does not exist")
            state = torch.load(file, weights_only=True)
            if state["weight"].shape != embedding.weight.shape:
                raise ValueError(
                    f"the embedding in {file} has the shape {tuple(state['weight'].shape)}, {name!r} needs "
                    f"{tuple(embedding.weight.shape)}"
                )
            embedding.load_state_dict(state)


class MultiHead(AbsHead):
    """Pass event features through one head and particles through another, and join the two vectors.

    Parameters
    ----------
    cont_feats
        Names of all continuous inputs: those called ``{vec}_{feat}`` go to the matrix head, the others to the flat one.
    matrix_head
        Head for particles, such as `InteractionNet`: the class (its arguments then follow as keywords), a
        ``functools.partial`` of it, or a callable that has ``vecs`` and ``feats_per_vec`` among the keywords here.
    flat_head
        Head for event features and categories.
    cat_embedder
        The categories.
    lookup_init
        Initialisation of both heads.
    freeze
        Whether to start untrainable.
    **kargs
        Further arguments of either head; each goes to the head that knows it.

    Raises
    ------
    TypeError
        If neither head knows an argument.
    ValueError
        If ``vecs`` or ``feats_per_vec`` are missing.

    Notes
    -----
    **Shape.** A flat tensor (B, len(cont_feats) + categories), a tuple (flat part, matrix), or a Batch; returns
    (B, flat output + matrix output).

    Examples
    --------
    >>> from lumigraph.blocks import InteractionNet
    >>> net = partial(InteractionNet, vecs=["a", "b"], feats_per_vec=["px"], intfunc_depth=1, intfunc_width=4,
    ...               intfunc_out_sz=3, outfunc_depth=1, outfunc_width=4, outfunc_out_sz=5, agg_method="sum")
    >>> head = MultiHead(["ht", "a_px", "b_px"], matrix_head=net)
    >>> head(torch.rand(2, 3)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        cont_feats: Sequence[str],
        matrix_head: Callable[..., AbsHead],
        flat_head: Callable[..., AbsHead] = CatEmbHead,
        cat_embedder: CatEmbedder | None = None,
        lookup_init: LookupInit = lookup_normal_init,
        freeze: bool = False,
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, cat_embedder)
        to_flat, to_matrix = _route(kargs, flat_head, matrix_head)
        known = {**_given(matrix_head), **to_matrix}
        missing = [name for name in ("vecs", "feats_per_vec") if known.get(name) is None]
        if missing:
            raise ValueError(
                f"matrix_head needs {' and '.join(missing)} to tell particles from event features: use "
                "partial(InteractionNet, vecs=[...], feats_per_vec=[...], ...)"
            )
        cells = set(cell_names(known["vecs"], known["feats_per_vec"]))
        inputs = self.cont_feats
        self.matrix_lookup = [i for i, name in enumerate(inputs) if name in cells]
        self.flat_lookup = [i for i, name in enumerate(inputs) if name not in cells]
        self.matrix_feats = [inputs[i] for i in self.matrix_lookup]
        self.cont_feats = [inputs[i] for i in self.flat_lookup]
        self.flat_head = flat_head(
            cont_feats=self.cont_feats, cat_embedder=self.cat_embedder, lookup_init=lookup_init, **to_flat
        )
        self.matrix_head = matrix_head(cont_feats=self.matrix_feats, lookup_init=lookup_init, **to_matrix)
        shift = self.flat_head.get_out_size()
        self.feat_map = dict(self.flat_head.feat_map)
        for name, outputs in self.matrix_head.feat_map.items():
            self.feat_map[name] = [shift + i for i in outputs]
        if freeze:
            self.freeze_layers()

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.flat_head.get_out_size() + self.matrix_head.get_out_size()

    def set_scaling(self, *, u: Scaling | None = None, x: Scaling | None = None) -> None:
        """Standardise the inputs of both heads from now on."""
        self.flat_head.set_scaling(u=u)
        self.matrix_head.set_scaling(x=x)

    def forward(self, x: Inputs) -> Tensor:
        """Return the joined outputs of both heads, (B, get_out_size())."""
        flat, matrix = x, x
        if isinstance(x, Tensor):
            width = len(self.flat_lookup) + len(self.matrix_lookup)
            if x.dim() != 2 or x.size(1) != width + self.n_cat_in:
                raise ValueError(
                    f"the flat input must have the shape (events, {width + self.n_cat_in}): {width} continuous columns "
                    f"and {self.n_cat_in} categories, got {tuple(x.shape)}"
                )
            flat = torch.cat([x[:, self.flat_lookup], x[:, width:]], dim=1)
            matrix = x[:, self.matrix_lookup]
        return torch.cat([self.flat_head(flat), self.matrix_head(matrix)], dim=1)


def _given(head: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the arguments that a partial already holds, by name."""
    if not isinstance(head, partial):
        return {}
    parameters = inspect.signature(head.func).parameters
    for name in head.keywords:
        if name not in parameters and isinstance(head.func, type):
            raise TypeError(f"{head.func.__name__} has no argument {name!r}: {near(name, parameters)}")
    try:
        return inspect.signature(head.func).bind_partial(*head.args, **head.keywords).arguments
    except TypeError as error:
        raise TypeError(f"the arguments of {getattr(head.func, '__name__', head.func)} do not fit: {error}") from None


def _route(
    kargs: Mapping[str, Any], flat_head: Callable[..., Any], matrix_head: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Send each keyword to the head that has a parameter of its name."""
    routed: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    names: list[str] = []
    for head, part in zip((flat_head, matrix_head), routed, strict=True):
        parameters = inspect.signature(head).parameters
        names += [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        own = isinstance(head, type | partial)  # a bare callable with **kwargs takes whatever the other head does not
        part.update({k: v for k, v in kargs.items() if k in parameters})
        if not own and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            part.update({k: v for k, v in kargs.items() if k not in routed[0]})
    for name in kargs:
        if name not in routed[0] and name not in routed[1]:
            heads = [getattr(getattr(h, "func", h), "__name__", repr(h)) for h in (flat_head, matrix_head)]
            raise TypeError(f"neither {heads[0]} nor {heads[1]} has an argument {name!r}: {near(name, names)}")
    return routed
