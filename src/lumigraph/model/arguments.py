"""Arguments of the parts of a model: checked, drawn, and completed from a schema."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from ..blocks import AbsMatrixHead, CatEmbHead, MultiHead
from ..events.checks import check_counts, check_number
from ..events.errors import near
from ..events.schema import EventSchema, different_names

__all__ = ["as_mapping", "check_arguments", "check_mask", "draw_features", "with_particles"]


def draw_features(feats: Sequence[str], rate: float | int, guaranteed: Sequence[str], seed: int) -> list[int]:
    """Draw a fraction of the features, those that are guaranteed among them, in their order."""
    check_counts(0, seed=seed)
    if not 0 < check_number("cont_subsample_rate", rate) <= 1:
        raise ValueError(f"cont_subsample_rate must be above 0 and at most 1, got {rate}")
    for name in different_names("guaranteed_feats", guaranteed):
        if name not in feats:
            raise ValueError(f"guaranteed_feats names {name!r}, which is no continuous feature: {near(name, feats)}")
    others = [i for i, name in enumerate(feats) if name not in guaranteed]
    wanted = max(1, round(rate * len(feats))) - (len(feats) - len(others))
    drawn = np.random.default_rng(seed).permutation(others)[: max(0, wanted)].tolist()
    return sorted({*range(len(feats))} - {*others} | {*drawn})


def check_mask(head: Any, mask: Sequence[int] | np.ndarray, feats: Sequence[str]) -> list[int]:
    """Return the numbers of the features to use, or raise a ValueError that says why they cannot be chosen."""
    if not (isinstance(head, type) and issubclass(head, CatEmbHead)):
        raise ValueError(
            "a part of the features can be chosen for head=CatEmbHead only: leave columns of particles out of "
            "feats_per_vec instead"
        )
    numbers = np.ravel(mask).tolist()
    if any(not isinstance(i, int) or not 0 <= i < len(feats) for i in numbers) or len(set(numbers)) < len(numbers):
        raise ValueError(f"input_mask must hold different whole numbers below {len(feats)}, got {numbers}")
    return numbers


def as_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return arguments by name, None as none, or raise a TypeError that names them."""
    value = {} if value is None else value
    if not isinstance(value, Mapping) or any(not isinstance(key, str) for key in value):
        raise TypeError(f"{name} must map names to values, got {value!r}")
    return value


def check_arguments(part: str, block: Callable[..., Any], args: Mapping[str, Any]) -> None:
    """Raise a TypeError if a part of a model is none, or does not know an argument."""
    if isinstance(block, nn.Module) or not callable(block):
        raise TypeError(f"the {part} must be a class of blocks, or a function that builds one, got {block!r}")
    parameters = inspect.signature(block).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return  # the block itself knows better
    for name in args:
        if name not in parameters:
            raise TypeError(
                f"the {part} {getattr(block, '__name__', block)} has no argument {name!r}: {near(name, parameters)}"
            )


def with_particles(head: Callable[..., Any], args: Mapping[str, Any], schema: EventSchema) -> dict[str, Any]:
    """Add the particles of the schema to the arguments of a head that needs them."""
    if not schema.objects:
        return dict(args)
    names = {"vecs": list(schema.slot_names), "feats_per_vec": list(schema.feats_per_vec)}
    if isinstance(head, type) and issubclass(head, AbsMatrixHead):
        return {**names, **args}
    if isinstance(head, type) and issubclass(head, MultiHead) and args.get("matrix_head") is not None:
        matrix_head = args["matrix_head"]
        if not callable(matrix_head):
            raise TypeError(
                f"matrix_head must be a head for particles or a partial of one, got {matrix_head!r}; in a file "
                "it is written as {block: InteractionNet, args: {...}}"
            )
        given = matrix_head.keywords if isinstance(matrix_head, partial) else args
        missing = {k: v for k, v in names.items() if k not in given}
        return {**args, "matrix_head": partial(matrix_head, **missing)}
    return dict(args)
