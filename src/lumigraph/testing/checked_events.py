"""Events that a model is checked on: random or given ones, selected and joined."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from ..events.adapters import from_jagged
from ..events.batches import make_batch, names_of, particles_of
from ..events.graph import lengths_to_ptr, ptr_to_batch
from ..events.kinematics import from_pt_eta_phi_mass
from ..events.names import Names
from ..events.particles import Particles, drop_absent, refuse_nan
from ..events.schema import BATCH_FIELDS
from .momentum_columns import Momenta

__all__ = ["Events", "given_events", "joined", "random_events"]

#: Particles per event: zero, one, two, some and many; events without particles come first, in the middle and last.
MULTIPLICITIES = (0, 2, 1, 0, 12, 3, 25, 7, 0)


class Events(NamedTuple):
    """Events as plain tensors."""

    particles: Particles
    u: Tensor | None = None
    cat: Tensor | None = None
    names: Names | None = None

    @property
    def lengths(self) -> Tensor:
        """Particles per event, (B,)."""
        return self.particles.ptr.diff()

    def batch(self) -> Batch:
        """Return the events as a Batch of tensors of its own, so that a model may write into it."""
        own = Particles(*(value.clone() for value in self.particles))
        u, cat = (None if value is None else value.clone() for value in (self.u, self.cat))
        return make_batch(own, names=self.names, u=u, cat=cat)

    def rows_of(self, events: Sequence[int]) -> Tensor:
        """Return the numbers of the particles of some events, in the order of the events."""
        ptr = self.particles.ptr.tolist()
        ranges = [torch.arange(ptr[event], ptr[event + 1]) for event in events]
        return torch.cat([torch.zeros(0, dtype=torch.long), *ranges])

    def select(self, events: Sequence[int]) -> "Events":
        """Return some events, in the order given."""
        rows, chosen = self.rows_of(events), torch.tensor(list(events), dtype=torch.long)
        ptr = lengths_to_ptr(self.lengths[chosen])
        u, cat = (None if value is None else value[chosen] for value in (self.u, self.cat))
        return Events(Particles(self.particles.x[rows], self.particles.slot[rows], ptr), u, cat, self.names)


def joined(parts: Sequence[Events]) -> Events:
    """Return the events of all parts, concatenated."""
    x, slot = (torch.cat([part.particles[i] for part in parts]) for i in (0, 1))
    ptr = lengths_to_ptr(torch.cat([part.lengths for part in parts]))
    u = None if parts[0].u is None else torch.cat([part.u for part in parts if part.u is not None])
    cat = None if parts[0].cat is None else torch.cat([part.cat for part in parts if part.cat is not None])
    return Events(Particles(x, slot, ptr), u, cat, parts[0].names)


def random_events(
    momenta: Momenta, random: torch.Generator, most: int | None, n_event_feats: int, cat_sizes: Sequence[int]
) -> Events:
    """Make events of 0, 1, 2 and more particles, at most ``most`` each.

    Momenta are of the order of 1, so that they do not saturate the activations of a network that does not scale its
    inputs. A third of the particles is massless, the others have masses of the order of pt. Other features are normally
    distributed.
    """
    lengths = torch.tensor(MULTIPLICITIES).clamp(max=max(MULTIPLICITIES) if most is None else most)
    n, b = int(lengths.sum()), len(lengths)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random, dtype=torch.float64)

    pt = (0.5 * normal(n)).exp()
    mass = pt * (0.2 + uniform(n)) * (uniform(n) > 1 / 3)
    p4 = from_pt_eta_phi_mass(pt, normal(n), (2 * uniform(n) - 1) * torch.pi, mass)
    x = momenta.write(normal(n, len(momenta.feats)), p4, mass)
    batch = from_jagged(x, lengths=lengths)
    u = normal(b, n_event_feats) if n_event_feats else None
    codes = [torch.randint(size, (b,), generator=random) for size in cat_sizes]
    return Events(particles_of(batch), u, torch.stack(codes, dim=1) if codes else None)


def given_events(inputs: Data, feats: Sequence[str]) -> Events:
    """Return the events of a Batch in float64.

    Raises
    ------
    TypeError
        If it is not a Batch.
    ValueError
        If it has a field that may depend on the particles in an unknown way, or no particles.
    """
    if not isinstance(inputs, Data):
        raise TypeError(
            f"inputs must be a Batch, got {type(inputs).__name__}: from_jagged, from_rows or batch() of an "
            "EventDataset make one"
        )
    unknown = [name for name in inputs.keys() if name not in BATCH_FIELDS]  # noqa: SIM118 (no mapping)
    if unknown:
        raise ValueError(
            f"inputs must have documented fields only, got {unknown[0]!r}, which may depend on the particles: give x "
            "alone and compute the rest from it in call=lambda model, batch: ..."
        )
    found = drop_absent(particles_of(inputs))
    refuse_nan(found.x.isnan(), found.slot, ptr_to_batch(found.ptr, found.x.size(0)))
    if found.x.size(1) != len(feats):
        raise ValueError(f"inputs must have the features {list(feats)}, got {found.x.size(1)} per particle")
    if not len(found.x):
        raise ValueError("inputs must have particles, got none: give events of several multiplicities")
    particles = Particles(found.x.detach().cpu().double(), found.slot.cpu(), found.ptr.cpu())
    u, cat = (inputs[name].detach().cpu() if name in inputs else None for name in ("u", "cat"))
    return Events(particles, None if u is None else u.double(), cat, names_of(inputs))
