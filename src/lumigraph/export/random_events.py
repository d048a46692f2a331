"""Random events similar to those a model was trained on, to compare it with its export."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from ..events.batches import make_batch
from ..events.particles import particles_from_rows
from ..nn.scaling import Scaling, Standardise
from .interface import Interface, heads_of

__all__ = ["RandomEvents"]

#: Largest number of particles per event if the model has no limit.
_MANY = 40
#: Largest number of pairs of slots in a batch of more than three events, to limit memory.
_PAIRS = 160_000


class RandomEvents:
    """Draw events with the means and standard deviations by which a model scales its inputs.

    Scaled features are normal, and the steps before the scaling (limits, logarithms) are inverted. Without a scaling,
    features are normal with mean 0 and standard deviation 1. If the names of particle features allow, four-momenta are
    physical: E is computed from the momentum and a mass, pt and mass are positive, phi is an angle. Categories are
    drawn from all that have an embedding.

    Parameters
    ----------
    head
        Input side of the model.
    scales
        Scalings of ``u`` and ``x``, for heads without their own.
    interface
        Inputs of the model.
    seed
        Seed of the generator; the global one is not used.
    """

    def __init__(self, head: nn.Module, scales: Mapping[str, Scaling], interface: Interface, seed: int = 0) -> None:
        self.interface = interface
        self.random = torch.Generator().manual_seed(seed)
        events, particles = heads_of(head)
        columns = list(range(len(interface.event_feats)))
        if events is not None and events.input_mask is not None:
            columns = events.input_mask.tolist()
        self.event_columns = columns
        self.u_scale = _scaling(events, len(columns), None)
        self.x_scale = _scaling(particles, len(interface.particle_feats), scales.get("x"))

    def batches(self) -> Iterator[tuple[Batch, int | None]]:
        """Yield events and their number of slots: no events, one with 0, 1, 2 and many particles, and mixed ones."""
        most = _MANY if self.interface.max_particles is None else self.interface.max_particles
        for lengths in ([], [0], [1], [min(2, most)], [most], [0, 0], [0, most, 1, min(2, most), 0]):
            yield self.batch(torch.tensor(lengths, dtype=torch.long)), None
        for events in (3, 25, 100):
            events = max(3, min(events, _PAIRS // most**2))
            found = self.batch(torch.randint(0, most + 1, (events,), generator=self.random))
            yield found, most + (3 if self.interface.max_particles is None else 0)

    def batch(self, lengths: Tensor) -> Batch:
        """Return events of given numbers of particles, in padded form with empty slots between particles."""
        face, dtype = self.interface, self.interface.dtype
        num_events = lengths.numel()
        particles = None
        if face.particle_feats:
            slots = int(lengths.max()) if num_events else 0
            if face.form == "padded" and face.max_particles is not None:
                slots = face.max_particles
            rows = self._particles(num_events, slots).to(dtype)
            mask = torch.arange(slots) < lengths.unsqueeze(1)
            if face.form == "padded" and slots:
                order = torch.rand(mask.shape, generator=self.random).argsort(dim=1)
                mask = mask.gather(1, order)
            particles = particles_from_rows(rows, mask=mask)
        cat = None
        if face.categories:
            codes = [torch.randint(0, n, (num_events,), generator=self.random) for n in face.categories.values()]
            cat = torch.stack(codes, dim=1)
        return make_batch(particles, u=self._events(num_events, dtype), cat=cat)

    def _events(self, num_events: int, dtype: torch.dtype) -> Tensor | None:
        if not self.interface.event_feats:
            return None
        u = torch.randn(num_events, len(self.interface.event_feats), generator=self.random, dtype=torch.float64)
        u[:, self.event_columns] = self.u_scale.undo(u[:, self.event_columns])
        return u.to(dtype)

    def _particles(self, num_events: int, slots: int) -> Tensor:
        names = [name.lower() for name in self.interface.particle_feats]
        z = torch.randn(num_events, slots, len(names), generator=self.random, dtype=torch.float64)
        x = self.x_scale.undo(z)
        at = {name: i for i, name in reversed(list(enumerate(names)))}
        for name in {"pt", "mass", "m"} & at.keys():
            x[..., at[name]] = x[..., at[name]].abs()
        if "phi" in at:
            angle = torch.rand(x.shape[:-1], generator=self.random, dtype=torch.float64)
            x[..., at["phi"]] = math.pi * (2 * angle - 1)
        energy = at.get("e", at.get("energy"))
        momentum = None
        if {"px", "py", "pz"} <= at.keys():
            momentum = x[..., [at["px"], at["py"], at["pz"]]].norm(dim=-1)
        elif {"pt", "eta"} <= at.keys():
            momentum = x[..., at["pt"]] * x[..., at["eta"]].cosh()
        if energy is not None and momentum is not None:
            # a mass of the order of a tenth of the momentum
            x[..., energy] = momentum * (1 + 0.01 * z[..., energy].square()).sqrt()
        return x


def _scaling(head: Any, width: int, fitted: Scaling | None) -> Standardise:
    """Return the scaling of a head for all its features, otherwise the fitted one, otherwise none, in float64."""
    own = getattr(head, "scale", None)
    if isinstance(own, Standardise) and own.mean.numel() == width:
        return copy.deepcopy(own).cpu().double()
    scale = Standardise(width).double()
    if fitted is not None:
        scale.set(*fitted)
    return scale
