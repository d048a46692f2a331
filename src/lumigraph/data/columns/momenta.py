"""Momenta of objects in the forms used by files, and the components computed from them.

A file gives four-momenta as (px, py, pz, E) or as (pt, eta, phi, mass or E). Components that a schema asks for and the
file lacks are computed: px, py, pz, E (or energy), pt, eta, phi, mass, and the logarithms log_pt and log_E. Without eta
or pz an object has no longitudinal momentum (MET), without mass and E it is massless.
"""

from collections.abc import Collection, Mapping

import numpy as np
import torch

from ...events import kinematics

__all__ = ["MOMENTUM", "completed", "sources_of"]

MOMENTUM = ("px", "py", "pz", "E", "energy", "pt", "eta", "phi", "mass")
_LOG_OF = {"log_pt": "pt", "log_E": "E"}
_LOG_FLOOR = 1e-3  # GeV; softer values are raised to it before the logarithm


def sources_of(vec: str, feat: str, names: Collection[str]) -> list[str]:
    """Return the column of a feature of an object, or those it is computed from; none if the object lacks it."""

    def first(*feats: str) -> list[str]:
        return [f"{vec}_{f}" for f in feats if f"{vec}_{f}" in names][:1]

    if own := first(feat, *{"E": ["energy"], "energy": ["E"]}.get(feat, [])):
        return own
    if feat in _LOG_OF:
        return sources_of(vec, _LOG_OF[feat], names)
    for pair in (("px", "py"), ("pt", "phi")):
        if feat in MOMENTUM and all(f"{vec}_{f}" in names for f in pair):
            return [*(f"{vec}_{f}" for f in pair), *first("pz", "eta"), *first("E", "energy", "mass")]
    return []


@np.errstate(over="ignore", invalid="ignore")  # infinities are refused by name
def completed(has: dict[str, np.ndarray], feats: Collection[str]) -> dict[str, np.ndarray]:
    """Add the requested features that can be computed, see `sources_of`."""
    for feat, same in (("E", "energy"), ("energy", "E")):
        if same in has:
            has.setdefault(feat, has[same])
    missing = ({_LOG_OF.get(feat, feat) for feat in feats} & set(MOMENTUM)) - has.keys()
    if missing and ({"px", "py"} <= has.keys() or {"pt", "phi"} <= has.keys()):
        p4 = _four_momenta({name: v.astype(np.float64, copy=False) for name, v in has.items() if name in MOMENTUM})
        for i, feat in enumerate(("px", "py", "pz", "E")):
            has.setdefault(feat, p4[:, i])
        has.setdefault("energy", has["E"])
        for feat in missing - has.keys():
            has[feat] = getattr(kinematics, feat)(torch.from_numpy(p4)).numpy()
    for feat, of in _LOG_OF.items():
        if of in has and feat in feats:
            has.setdefault(feat, np.log(np.maximum(has[of].astype(np.float64, copy=False), _LOG_FLOOR)))
    return has


def _four_momenta(has: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return (px, py, pz, E) of objects, (n, 4), from the columns given."""
    px, py = has.get("px"), has.get("py")
    if px is None or py is None:
        px, py = has["pt"] * np.cos(has["phi"]), has["pt"] * np.sin(has["phi"])
    pz, energy = has.get("pz"), has.get("E")
    if pz is None:
        pz = np.hypot(px, py) * np.sinh(has["eta"]) if "eta" in has else np.zeros_like(px)
    if energy is None:
        energy = np.sqrt(px**2 + py**2 + pz**2 + has.get("mass", np.zeros_like(px)) ** 2)
    return np.stack([px, py, pz, energy], axis=1)
