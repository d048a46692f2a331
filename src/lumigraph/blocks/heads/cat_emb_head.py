"""The head for event features and categories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from ...events.batches import names_of
from ...events.checks import check_counts, check_dropout
from ...events.errors import EventError
from ...events.names import Names, difference
from ...events.particles import floating
from ...nn.lookups import LookupInit, lookup_normal_init
from ...nn.scaling import Scaling, Standardise
from ..block import in_precision
from ..embedding import CatEmbedder
from .abs_head import AbsHead, AnyScaling, Inputs, pair

__all__ = ["CatEmbHead"]


class CatEmbHead(AbsHead):
    """Concatenate the continuous event features and a learned embedding of each category.

    Parameters
    ----------
    cont_feats
        Names of the continuous features, the first columns of a flat input.
    do_cont
        Dropout rate for the continuous features.
    do_cat
        Dropout rate for the embeddings.
    cat_embedder
        The categories, the columns after the continuous ones.
    lookup_init
        Accepted for a common signature, but not used; embeddings start as N(0, 1).
    freeze
        Whether to start untrainable.

    Raises
    ------
    ValueError
        If the width of the input does not fit the names, or a code is beyond its embedding.

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

    input_mask: Tensor | None

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
        # follows from the arguments of the model, and is not part of its state
        self.register_buffer("input_mask", None, persistent=False)
        self._mask: list[int] | None = None  # the same without a synchronisation with the device
        self.n_columns = self.n_cont_in
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

    def set_input_mask(self, mask: Sequence[int], n_columns: int) -> None:
        """Accept inputs with more continuous columns than features: feature i is column ``mask[i]``.

        Raises
        ------
        ValueError
            If there is not one column per feature.
        """
        check_counts(n_columns=n_columns)
        fits = all(isinstance(i, int) and 0 <= i < n_columns for i in mask) and len(set(mask)) == len(mask)
        if not fits or len(mask) != self.n_cont_in:
            raise ValueError(f"mask must hold {self.n_cont_in} different columns below {n_columns}, got {list(mask)}")
        self.input_mask = torch.tensor(mask, dtype=torch.long, device=self.scale.mean.device)
        self._mask = list(mask)
        self.n_columns = n_columns

    def _chosen(self, columns: Tensor) -> Tensor:
        return columns if self.input_mask is None else columns.index_select(-1, self.input_mask)

    def set_scaling(self, *, u: AnyScaling | None = None, x: AnyScaling | None = None) -> None:
        """Standardise the continuous features from now on."""
        if u is not None:
            self.scale.set(*(u if self.input_mask is None else Scaling(*u).select(self.input_mask.tolist())))

    def forward(self, x: Inputs) -> Tensor:
        """Return continuous features and embeddings, (B, get_out_size())."""
        return self.embed(*self._columns(x))

    def embed(self, cont: Tensor, codes: Tensor) -> Tensor:
        """Return the output for continuous features (B, n_cont_in) and integer codes (B, n_cat_in)."""
        parts = [self.do_cont(self.scale(cont))]
        for i, (name, embedding) in enumerate(self._named_embeds()):
            code = codes[:, i]
            if not torch.compiler.is_compiling():
                _refuse_unknown(name, code, embedding.num_embeddings)
            parts.append(self.do_cat(embedding(code)))
        return torch.cat(parts, dim=1)

    def _columns(self, x: Inputs) -> tuple[Tensor, Tensor]:
        if isinstance(x, Data):
            return self._fields(x)
        if isinstance(x, (tuple, list)):
            x = pair(x)[0]
        if not isinstance(x, Tensor) or x.dim() != 2 or x.size(1) != self.n_columns + self.n_cat_in:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"the flat input must be a tensor (events, {self.n_columns + self.n_cat_in}) of {self.n_columns} "
                f"continuous and {self.n_cat_in} categorical columns, got {got}"
            )
        return self._checked(self._chosen(x[:, : self.n_columns])), x[:, self.n_columns :].long()

    def _fields(self, x: Data) -> tuple[Tensor, Tensor]:
        """Return the event features and categories of a Batch, or of the Data of one event."""
        found = next((x[field] for field in ("cat", "u") if isinstance(x.get(field), Tensor)), None)
        num_events = found.size(0) if found is not None and found.dim() else max(0, len(x.ptr) - 1) if "ptr" in x else 1
        none = self.scale.mean.new_zeros(num_events, 0)
        cont, codes = x.u if "u" in x else none, x.cat if "cat" in x else none.long()
        expected = (("u", cont, self.n_columns, self.cont_feats), ("cat", codes, self.n_cat_in, self.cat_feats))
        for field, value, width, names in expected:
            if not isinstance(value, Tensor) or value.shape != (num_events, width):
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"{field!r} of the batch must have the shape ({num_events}, {width}) for the features {names}, got "
                    f"{got}"
                )
        self._refuse_other_names(names_of(x))
        if codes.is_floating_point():
            raise ValueError(f"'cat' of the batch must hold integers (codes from 0), got {codes.dtype}")
        return self._checked(self._chosen(cont)), codes.long()

    def _refuse_other_names(self, names: Names) -> None:
        """Raise a ValueError if a Batch and the head name the columns differently."""
        event_feats = names.event_feats
        if event_feats and self._mask is not None:
            event_feats = [event_feats[i] for i in self._mask]
        for field, own, other in (("u", self.cont_feats, event_feats), ("cat", self.cat_feats, names.cat_feats)):
            if other and own != list(other):
                raise ValueError(
                    f"{field!r} of the batch must have the features {own} of the head, got {list(other)}: "
                    f"{difference(own, other)}"
                )

    def _checked(self, cont: Tensor) -> Tensor:
        cont = in_precision(self, floating(cont))
        if not torch.compiler.is_compiling() and bool(cont.isnan().any()):
            event, column = cont.isnan().nonzero()[0].tolist()
            name = self.cont_feats[column]
            raise EventError(
                f"feature {name!r} must be a number, got NaN: only particles may be absent", event=event, column=name
            )
        return cont

    def get_embeds(self) -> dict[str, dict[str, Tensor]]:
        """Return the state_dict of the embedding of each category."""
        return {name: embedding.state_dict() for name, embedding in self._named_embeds()}

    def _named_embeds(self) -> list[tuple[str, nn.Embedding]]:
        return [(name, cast(nn.Embedding, e)) for name, e in zip(self.cat_feats, self.embeds, strict=True)]

    def save_embeds(self, path: str | Path) -> None:
        """Save each embedding in its own file, ``{name}.h5``, in a folder that is created if necessary."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, state in self.get_embeds().items():
            torch.save(state, folder / f"{name}.h5")

    def plot_embeds(self, savename: str | Path | None = None, settings: Any = None) -> Any:
        """Draw the embeddings of all categories as heat maps in one figure.

        Parameters
        ----------
        savename
            File to save the figure in; not saved if not given.
        settings
            `lumigraph.plotting.PlotSettings`; the defaults if not given.

        Returns
        -------
        list of Axes
            One per category.
        """
        from ...plotting import plot_embeddings, save  # imported only when needed

        axes = plot_embeddings({name: e.weight.detach().cpu() for name, e in self._named_embeds()}, settings)
        if savename is not None:
            save(axes[0], savename, settings)
        return axes

    def _load_embeds(self, folder: Path) -> None:
        for name, embedding in self._named_embeds():
            file = folder / f"{name}.h5"
            if not file.is_file():
                raise ValueError(f"emb_load_path must hold an embedding of {name!r}, got no file {file}")
            state = torch.load(file, weights_only=True)
            if state["weight"].shape != embedding.weight.shape:
                raise ValueError(
                    f"the embedding of {name!r} must have the shape {tuple(embedding.weight.shape)}, got "
                    f"{tuple(state['weight'].shape)} in {file}"
                )
            embedding.load_state_dict(state)


def _refuse_unknown(name: str, code: Tensor, cardinality: int) -> None:
    beyond = (code < 0) | (code >= cardinality)
    if bool(beyond.any()):
        event = int(beyond.nonzero()[0])
        raise EventError(
            f"category {name!r} must have a code from 0 to {cardinality - 1}, as its embedding has, got "
            f"{int(code[event])}: build the model with the cardinality of all events (cat_szs)",
            event=event,
            column=name,
        )
