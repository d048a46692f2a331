"""The particles of one event as pictures need them: features by name, kinds, and collider coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch_geometric.data import Data

from ...events import kinematics
from ...events.batches import feature_names

__all__ = ["Coordinates", "coordinates", "event_bounds", "event_columns", "event_rows", "named_kinds"]

_KINDS = {0: "MET", 1: "electron", 2: "muon", 3: "jet"}


class Coordinates(NamedTuple):
    """Where particles lie in the eta-phi plane, and how far the picture reaches in eta."""

    pt: Float[np.ndarray, " particles"]
    eta: Float[np.ndarray, " particles"]
    phi: Float[np.ndarray, " particles"]
    limit: float


def event_bounds(ptr: Sequence[int], event: int) -> tuple[int, int]:
    """Return the first particle of an event and the first one after it, or raise a ValueError.

    Examples
    --------
    >>> event_bounds([0, 2, 2, 5], 2)
    (2, 5)
    """
    if not 0 <= event < len(ptr) - 1:
        raise ValueError(f"event must be a number from 0 to {len(ptr) - 2}, got {event}: the batch has {len(ptr) - 1}")
    return ptr[event], ptr[event + 1]


def event_rows(batch: Data, event: int, feats_per_vec: Sequence[str]) -> Float[torch.Tensor, "particles features"]:
    """Return the features of the particles of one event, in float64 on the CPU."""
    if batch.x is None or batch.x.dim() != 2 or batch.x.shape[1] != len(feats_per_vec):
        found = None if batch.x is None else tuple(batch.x.shape)
        raise ValueError(
            f"batch.x must have a column for each of the feats_per_vec {[*feats_per_vec]}, got the shape {found}"
        )
    first, end = event_bounds(batch.ptr.tolist() if "ptr" in batch else [0, len(batch.x)], event)
    return batch.x[first:end].detach().double().cpu()


def event_columns(
    batch: Data, event: int, feats_per_vec: Sequence[str] | None = None, needed: Sequence[str] = ("px", "py")
) -> dict[str, Float[np.ndarray, " particles"]]:
    """Return the features of the particles of one event by name; all must be finite, and the needed ones exist."""
    feats_per_vec = feature_names(batch, feats_per_vec)
    missing = [name for name in needed if name not in feats_per_vec]
    if missing:
        raise ValueError(f"feats_per_vec must have {' and '.join(missing)} among its names, got {[*feats_per_vec]}")
    columns = dict(zip(feats_per_vec, event_rows(batch, event, feats_per_vec).T.numpy(), strict=True))
    for name, values in columns.items():
        if not np.isfinite(values).all():
            bad = values[~np.isfinite(values)][0]
            raise ValueError(f"{name} of event {event} must be finite numbers, got {bad}")
    return columns


def named_kinds(
    columns: dict[str, Float[np.ndarray, " particles"]], kinds: Mapping[int, str] | None
) -> Mapping[int, str]:
    """Return the name of each code of ``kind``, a column that is made from flags ``is_MET``, ... if it is missing."""
    flags = [name for name in columns if name.startswith("is_")]
    if not flags or "kind" in columns:
        return _KINDS if kinds is None else kinds
    columns["kind"] = np.argmax([columns[name] for name in flags], axis=0)
    return {code: name.removeprefix("is_") for code, name in enumerate(flags)}


def coordinates(columns: Mapping[str, Float[np.ndarray, " particles"]]) -> Coordinates:
    """Return transverse momentum, pseudorapidity and azimuth; along the beam eta is the limit of the picture."""
    zero = np.zeros_like(columns["px"])
    p4 = torch.from_numpy(np.stack([columns["px"], columns["py"], columns.get("pz", zero), zero], axis=-1))
    eta = kinematics.eta(p4).numpy()
    finite = np.isfinite(eta)
    limit = max(2.5, math.ceil(2.2 * np.abs(eta[finite]).max(initial=0.0)) / 2.0) + (0.0 if finite.all() else 0.5)
    return Coordinates(kinematics.pt(p4).numpy(), eta.clip(-limit, limit), kinematics.phi(p4).numpy(), limit)
