"""Settings measured on events: scales of features and targets, number of classes, cardinalities of categories."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..blocks import CatEmbedder, ClassRegMulti
from ..data import Events
from ..events.errors import SchemaError
from ..events.schema import EventSchema
from ..training.scaling import ScalingFit
from .description import Description

__all__ = ["measured", "scaling_fit"]

Described = TypeVar("Described", bound=Description)


def scaling_fit(description: Description) -> ScalingFit:
    """Return the fit of the scales of features, and of targets if the tail can learn scaled ones.

    Raises
    ------
    SchemaError
        If a transform or a limit names a feature that is not in the schema.
    """
    if not isinstance(description.schema, EventSchema):
        raise SchemaError("schema must be an EventSchema to find features by name, got none: give the description one")
    told = {"y_range", "y_mean", "bias_init"} & {*((description.model_args or {}).get("tail") or {})}
    return ScalingFit(
        description.schema,
        scaling=description.scaling,
        transforms=description.transforms,
        clip=description.clip,
        targets=description.objective == "regression" and description.tail is ClassRegMulti and not told,
    )


def measured(description: Described, events: Events, others: Sequence[Events] = ()) -> Described:
    """Return a description completed by measurements on training events, which are read at most once.

    Parameters
    ----------
    description
        The description so far; its number of outputs and categories are kept if given.
    events
        Training events.
    others
        Further events whose categories must be known, each read once if there are categories.

    Raises
    ------
    SchemaError
        If events have no targets, or a feature is not a finite number.
    """
    new, fit = copy.copy(description), scaling_fit(description)
    count_classes, names = description.n_out is None, events.schema.cat_feats
    count_codes = bool(names) and not isinstance(description.cat_embedder, CatEmbedder)
    widths: Mapping[str, Any] = description.cat_embedder if isinstance(description.cat_embedder, Mapping) else {}
    sizes = [[1] * len(names), *(other.cat_szs() for other in others if count_codes)]
    classes = 0
    for part in events.chunks() if count_classes or count_codes or fit.measures else ():
        if part.y is None:
            raise SchemaError(
                "the events were read without their targets (labelled=False): read them with their targets"
            )
        classes = max(classes, int(part.y.max()) + 1) if count_classes else 0
        sizes.append(part.cat_szs() if count_codes else sizes[0])
        if fit.measures:
            with events.locating(part):
                fit.update(part)
    if count_classes:
        new.n_out = classes
    if count_codes:
        new.cat_embedder = CatEmbedder(names, [max(size) for size in zip(*sizes, strict=True)], **widths)
    new.scales, args = fit.scaling(), {part: dict(given or {}) for part, given in (new.model_args or {}).items()}
    if fit.of_targets:
        args["tail"] |= dict(zip(("y_mean", "y_std"), (tensor.tolist() for tensor in fit.targets()), strict=True))
    new.model_args = args
    return new
