"""Four-momenta in the features of particles: found by their names, and written back after a change."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.columns.momenta import completed
from ..events.schema import different_names

__all__ = ["P4", "Momenta"]

P4 = ("px", "py", "pz", "E")
_LONGITUDINAL = {"pz", "eta"}
_NAMES = {
    **{name: name for name in ("px", "py", "pz", "energy", "pt", "eta", "phi", "mass", "log_pt")},
    "e": "E", "m": "mass", "log_e": "log_E", "log_energy": "log_E",
}  # fmt: skip


class Momenta:
    """Where the four-momenta stand in the features of particles.

    Parameters
    ----------
    feats
        Names of the features: (px, py, pz, E or energy) or (pt, eta, phi, mass, E or energy), in any order and case,
        with others among them. Without energy and mass, particles are massless; log_pt and log_E follow from the rest.

    Examples
    --------
    >>> momenta = Momenta(["btag", "pt", "eta", "phi"])
    >>> x = torch.tensor([[1.0, 5.0, 0.0, 0.0]], dtype=torch.float64)
    >>> momenta.read(x)
    tensor([[5., 0., 0., 5.]], dtype=torch.float64)
    >>> momenta.write(x, torch.tensor([[0.0, 3.0, 0.0, 3.0]], dtype=torch.float64))
    tensor([[1.0000, 3.0000, 0.0000, 1.5708]], dtype=torch.float64)
    """

    def __init__(self, feats: Sequence[str]) -> None:
        self.feats = different_names("feats", feats)
        found = {_NAMES[name.lower()]: i for i, name in enumerate(self.feats) if name.lower() in _NAMES}
        #: column of each feature that is a function of the four-momentum
        self.columns = found if {"px", "py"} <= found.keys() or {"pt", "phi"} <= found.keys() else {}

    @property
    def missing(self) -> str:
        """Why there are no four-momenta; empty if there are."""
        if self.columns:
            return ""
        return f"the features {self.feats} hold no momenta, which have the names px, py, pz, E or pt, eta, phi, mass"

    @property
    def is_transverse(self) -> bool:
        """Whether the features say nothing of the momenta along the beam."""
        return not _LONGITUDINAL & self.columns.keys()

    def read(self, x: Float[Tensor, "particles feats"]) -> Float[Tensor, "particles 4"]:
        """Return the four-momenta (px, py, pz, E)."""
        has = completed({name: x[:, i].numpy() for name, i in self.columns.items()}, P4)
        return torch.stack([torch.from_numpy(has[name]) for name in P4], dim=1)

    def masses(self, x: Float[Tensor, "particles feats"]) -> Float[Tensor, " particles"] | None:
        """Return the masses if they are a feature: computed from four-momenta they would lose half of their digits."""
        return x[:, self.columns["mass"]] if "mass" in self.columns else None

    def write(
        self, x: Float[Tensor, "particles feats"], p4: Float[Tensor, "particles 4"], masses: Tensor | None = None
    ) -> Float[Tensor, "particles feats"]:
        """Return the features with other four-momenta; features that do not depend on them stay."""
        has = dict(zip(P4, p4.double().numpy().T, strict=True))
        has = completed(has if masses is None else {**has, "mass": masses.numpy()}, list(self.columns))
        x = x.clone()
        for name, i in self.columns.items():
            x[:, i] = torch.from_numpy(has[name].copy())
        return x
