"""The body that passes parts of its input to separate bodies."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...events.checks import check_counts
from ...events.errors import near
from ...events.schema import different_names
from ...nn.lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from ...nn.mlp import Dense
from ..block import vectors
from .abs_body import AbsBody

__all__ = ["MultiBlock"]


class MultiBlock(AbsBody):
    """Pass groups of features to separate bodies, and concatenate their outputs.

    Each body may also get a bottleneck: a few neurons that summarise the features it does not get itself.

    Parameters
    ----------
    n_in, feat_map
        See `AbsBody`; features are named as in ``feat_map``.
    blocks
        Bodies: classes, or partials of them with their arguments.
    feats_per_block
        Names of the features for each body. A feature may go to several bodies, or to none. The columns keep the order
        of ``feat_map``, whatever the order of the names, and each occurs once.
    bottleneck_sz
        Number of neurons of each bottleneck, 0 for none. A body that gets every feature has none.
    bottleneck_act
        Activation of the bottlenecks; none if not given.
    lookup_init, lookup_act
        Functions that return the initialisation and the activation by name, also for bodies that do not set them.
    freeze
        Whether to start untrainable.
    bottleneck
        True is a shorthand for ``bottleneck_sz=1``.

    Raises
    ------
    ValueError
        If there is not one list of features per body, a feature is unknown, or a body would get no input.

    Notes
    -----
    **Shape.** (B, n_in) to (B, sum of the widths of the bodies), in their order.

    Examples
    --------
    >>> from lumigraph.blocks import FullyConnected
    >>> body = MultiBlock(3, {"ht": [0], "met": [1], "n_jets": [2]}, bottleneck_sz=1, feats_per_block=[["ht"], ["met"]],
    ...                   blocks=[partial(FullyConnected, depth=1, width=4), partial(FullyConnected, depth=2, width=5)])
    >>> body(torch.zeros(2, 3)).shape
    torch.Size([2, 9])
    """

    def __init__(
        self,
        n_in: Any,
        feat_map: Mapping[str, Sequence[int]],
        blocks: Sequence[Callable[..., AbsBody]],
        feats_per_block: Sequence[Sequence[str]],
        bottleneck_sz: int = 0,
        bottleneck_act: str | None = None,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze: bool = False,
        bottleneck: bool = False,
    ) -> None:
        super().__init__(n_in, feat_map)
        for field, value in (("blocks", blocks), ("feats_per_block", feats_per_block)):
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise TypeError(f"{field} must be a list with one entry per body, got {value!r}")
        if len(blocks) != len(feats_per_block) or not blocks:
            raise ValueError(
                f"feats_per_block must hold one list of names per block, got {len(feats_per_block)} lists and "
                f"{len(blocks)} blocks"
            )
        check_counts(0, bottleneck_sz=bottleneck_sz)
        self.feats_per_block = [
            different_names(f"feats_per_block[{i}]", feats) for i, feats in enumerate(feats_per_block)
        ]
        self.bottleneck_sz, self.bottleneck_act = max(int(bottleneck_sz), int(bottleneck)), bottleneck_act
        options = {"lookup_init": lookup_init, "lookup_act": lookup_act}
        #: the columns of each body, and those of its bottleneck
        self.taken, self.left = nn.ModuleList(), nn.ModuleList()
        self.blocks, self.bottleneck_blocks = nn.ModuleList(), nn.ModuleList()
        for i, (block, feats) in enumerate(zip(blocks, self.feats_per_block, strict=True)):
            taken = self._columns(i, feats)
            left = [c for c in self._columns(i, list(self.feat_map)) if c not in taken]
            summary: nn.Module = nn.Identity()
            if left and self.bottleneck_sz:
                summary = Dense(len(left), self.bottleneck_sz, act=bottleneck_act or "linear", **options)  # type: ignore[arg-type]
            width = len(taken) + (self.bottleneck_sz if isinstance(summary, Dense) else 0)
            if not width:
                raise ValueError(f"feats_per_block[{i}] must name at least one feature, got none")
            inner = {name: [taken.index(c) for c in self.feat_map[name]] for name in self.feat_map if name in feats}
            given = block.keywords if isinstance(block, partial) else {}
            its_own = {name: value for name, value in options.items() if name not in given}
            self.taken.append(_Columns(taken))
            self.left.append(_Columns(left))
            self.blocks.append(_build(i, block, n_in=width, feat_map=inner, **its_own))
            self.bottleneck_blocks.append(summary)
        if freeze:
            self.freeze_layers()

    def _columns(self, block: int, feats: Sequence[str]) -> list[int]:
        """Return the columns of features, each once, in the order of feat_map."""
        for name in feats:
            if name not in self.feat_map:
                raise ValueError(
                    f"feats_per_block[{block}] must name features, got {name!r}: {near(name, self.feat_map)}"
                )
        return list(dict.fromkeys(c for name, columns in self.feat_map.items() if name in feats for c in columns))

    def get_out_size(self) -> int:
        """Return the width of all bodies together."""
        return sum(block.get_out_size() for block in self.blocks)  # type: ignore[operator]

    def forward(self, x: Float[Tensor, "events n_in"]) -> Float[Tensor, "events out"]:
        """Return the concatenated outputs of all bodies."""
        x = vectors(self, x, self.n_in)
        outputs = []
        for taken, left, block, summary in zip(self.taken, self.left, self.blocks, self.bottleneck_blocks, strict=True):
            inputs = taken(x)
            if isinstance(summary, Dense):
                inputs = torch.cat([inputs, summary(left(x))], dim=1)
            outputs.append(block(inputs))
        return torch.cat(outputs, dim=1)


def _build(i: int, block: Any, **arguments: Any) -> Any:
    """Build body ``i`` from a class or a partial."""
    built = None if isinstance(block, nn.Module) or not callable(block) else block(**arguments)
    if not hasattr(built, "get_out_size"):
        raise TypeError(f"blocks[{i}] must be a class of bodies, or a partial of one with its arguments, got {block!r}")
    return built


class _Columns(nn.Module):
    """Select columns. They follow from the arguments of the body, and are not part of its state."""

    index: Tensor

    def __init__(self, columns: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("index", torch.tensor(columns, dtype=torch.long), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.index)
