"""The head that combines one for event features and one for particles."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...events.errors import near
from ...events.schema import cell_names
from ...nn.lookups import LookupInit, lookup_normal_init
from ..embedding import CatEmbedder
from .abs_head import AbsHead, AnyScaling, Inputs
from .cat_emb_head import CatEmbHead

__all__ = ["MultiHead"]


class MultiHead(AbsHead):
    """Pass event features through one head and particles through another, and concatenate their outputs.

    Parameters
    ----------
    cont_feats
        Names of all continuous inputs: those named ``{vec}_{feat}`` go to the matrix head, the others to the flat head.
    matrix_head
        Head for particles, such as `InteractionNet`: the class (with its arguments as keywords here), a
        ``functools.partial`` of it, or a callable, with ``vecs`` and ``feats_per_vec`` among the keywords here.
    flat_head
        Head for event features and categories.
    cat_embedder
        The categories.
    lookup_init
        Initialisation of both heads.
    freeze
        Whether to start untrainable.
    **kargs
        Further arguments; each goes to the head that has it.

    Raises
    ------
    TypeError
        If neither head has an argument.
    ValueError
        If ``vecs`` or ``feats_per_vec`` is missing.

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
        for name, head in (("matrix_head", matrix_head), ("flat_head", flat_head)):
            if isinstance(head, nn.Module) or not callable(head):
                raise TypeError(
                    f"{name} must be a class of heads, or a partial of one with its arguments, got {head!r}"
                )
            _given(head)  # finds misspelt arguments
        to_flat, to_matrix = _route(kargs, flat_head, matrix_head)
        known = {**_given(matrix_head), **to_matrix}
        missing = [name for name in ("vecs", "feats_per_vec") if known.get(name) is None]
        if missing:
            raise ValueError(
                f"matrix_head must have {' and '.join(missing)}, to tell particles from event features, got none: use "
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

    def set_scaling(self, *, u: AnyScaling | None = None, x: AnyScaling | None = None) -> None:
        """Standardise the inputs of both heads from now on."""
        self.flat_head.set_scaling(u=u)
        self.matrix_head.set_scaling(x=x)

    def forward(self, x: Inputs) -> Tensor:
        """Return the concatenated outputs of both heads, (B, get_out_size())."""
        flat, matrix = x, x
        if isinstance(x, Tensor):
            width = len(self.flat_lookup) + len(self.matrix_lookup)
            if x.dim() != 2 or x.size(1) != width + self.n_cat_in:
                raise ValueError(
                    f"the flat input must have the shape (events, {width + self.n_cat_in}) for {width} continuous "
                    f"columns and {self.n_cat_in} categories, got {tuple(x.shape)}"
                )
            flat = torch.cat([x[:, self.flat_lookup], x[:, width:]], dim=1)
            matrix = x[:, self.matrix_lookup]
        events, particles = self.flat_head(flat), self.matrix_head(matrix)
        if events.size(0) != particles.size(0):
            raise ValueError(
                f"the flat part must have {particles.size(0)} events, as the particles have, got {events.size(0)}: "
                "give both for the same events"
            )
        return torch.cat([events, particles], dim=1)


def _given(head: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the arguments that a partial already has, by name."""
    if not isinstance(head, partial):
        return {}
    parameters = inspect.signature(head.func).parameters
    unfilled = [
        n for n, p in parameters.items() if p.default is p.empty and n not in head.keywords and n != "cont_feats"
    ]
    for name in head.keywords:
        # otherwise the correct argument would be reported as missing, not the misspelt one
        if name not in parameters and near(name, unfilled).startswith("did you mean"):
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
        own = isinstance(head, type | partial)  # a bare callable with **kwargs takes all that the other head does not
        part.update({k: v for k, v in kargs.items() if k in parameters})
        if not own and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            part.update({k: v for k, v in kargs.items() if k not in routed[0]})
    for name in kargs:
        if name not in routed[0] and name not in routed[1]:
            heads = [getattr(getattr(h, "func", h), "__name__", repr(h)) for h in (flat_head, matrix_head)]
            raise TypeError(f"neither {heads[0]} nor {heads[1]} has an argument {name!r}: {near(name, names)}")
    return routed
