"""Random changes of events that a model may be symmetric under, drawn for each event and each time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..events.graph import lengths_to_ptr, ptr_to_batch
from ..events.particles import Particles
from .checked_events import Events
from .momentum_columns import Momenta

__all__ = [
    "LIMITS",
    "LORENTZ",
    "SYMMETRIES",
    "Change",
    "emissions",
    "moved_by_rounding",
    "permuted",
    "room_for_one",
    "transformed",
]

#: Names of all symmetries; z is the beam.
SYMMETRIES = (
    "permutation", "padding", "rotation", "rotation_z", "boost", "boost_z", "reflection", "reflection_x",
    "reflection_y", "reflection_z", "scaling", "soft_emission", "collinear_split",
)  # fmt: skip

#: Axes of components by name.
_AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True)
class Change:
    """Events after a change, and what their particles were before."""

    events: Events
    #: the particle before the change that each one comes from
    source: Int[Tensor, " particles"]
    #: which particles are unchanged or transformed as a whole: their outputs must be so, too
    kept: Bool[Tensor, " particles"]
    #: transformation of the four-momenta of each event; None for the identity
    matrix: Float[Tensor, "events 4 4"] | None
    #: in words, per event
    words: Sequence[str]


def permuted(events: Events, random: torch.Generator) -> Change:
    """Exchange the particles of each event; the occupied slots stay the same."""
    x, slot, ptr = events.particles
    event = ptr_to_batch(ptr)
    shuffled = torch.randperm(len(x), generator=random)
    order = shuffled[event[shuffled].argsort(stable=True)]
    words = []
    for begin, end in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        places = (order[begin:end] - begin).tolist()
        words.append(f"in the order {places}" if len(places) <= 12 else f"in the order {str(places[:12])[:-1]}, ...]")
    return Change(
        events._replace(particles=Particles(x[order], slot, ptr)),
        order,
        torch.ones(len(x), dtype=torch.bool),
        None,
        words,
    )


# --------------------------------------------------------------------------------------- Lorentz transformations, scale

#: Draws a matrix (4, 4) that acts on (px, py, pz, E), and describes it in words.
Draw = Callable[[torch.Generator, float], tuple[Tensor, str]]


def _uniform(random: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(1, generator=random, dtype=torch.float64))


def _direction(random: torch.Generator) -> Tensor:
    vector = torch.randn(3, generator=random, dtype=torch.float64)
    return vector / vector.norm()


def _shown(vector: Tensor) -> str:
    return "(" + ", ".join(f"{v:.3g}" for v in vector.tolist()) + ")"


def _rotation(random: torch.Generator, _: float) -> tuple[Tensor, str]:
    """Draw a rotation from the uniform (Haar) distribution, by a quaternion of uniform direction in 4 dimensions."""
    q = torch.randn(4, generator=random, dtype=torch.float64)
    q = q / q.norm()
    axis, angle = q[1:] / q[1:].norm(), 2 * math.atan2(float(q[1:].norm()), float(q[0]))
    return _rotated(axis, angle), f"after a rotation by {angle:.3g} rad about {_shown(axis)}"


def _rotation_z(random: torch.Generator, _: float) -> tuple[Tensor, str]:
    angle = _uniform(random, -math.pi, math.pi)
    return _rotated(
        torch.tensor([0.0, 0.0, 1.0]).double(), angle
    ), f"after a rotation by {angle:.3g} rad about the beam"


def _rotated(axis: Tensor, angle: float) -> Tensor:
    x, y, z = axis.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] += math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return matrix


def _boosted(direction: Tensor, rapidity: float) -> Tensor:
    cosh, sinh = math.cosh(rapidity), math.sinh(rapidity)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] += (cosh - 1) * torch.outer(direction, direction)
    matrix[:3, 3] = matrix[3, :3] = sinh * direction
    matrix[3, 3] = cosh
    return matrix


def _boost(random: torch.Generator, max_gamma: float) -> tuple[Tensor, str]:
    direction, rapidity = _direction(random), _uniform(random, 0.1, 1.0) * math.acosh(max_gamma)
    return _boosted(
        direction, rapidity
    ), f"after a boost with gamma {math.cosh(rapidity):.3g} along {_shown(direction)}"


def _boost_z(random: torch.Generator, max_gamma: float) -> tuple[Tensor, str]:
    rapidity = _uniform(random, 0.1, 1.0) * math.acosh(max_gamma) * (1 if _uniform(random, -1.0, 1.0) > 0 else -1)
    return (
        _boosted(torch.tensor([0.0, 0.0, 1.0]).double(), rapidity),
        f"after a boost by a rapidity of {rapidity:.3g} along the beam",
    )


def _reflection(axes: str) -> Draw:
    def draw(_: torch.Generator, __: float) -> tuple[Tensor, str]:
        matrix = torch.eye(4, dtype=torch.float64)
        for axis in axes:
            matrix[_AXES[axis], _AXES[axis]] = -1.0
        return matrix, f"after the reflection of p{', p'.join(axes)}"

    return draw


def _scaling(random: torch.Generator, _: float) -> tuple[Tensor, str]:
    factor = 10 ** _uniform(random, -1.0, 1.0)
    return factor * torch.eye(4, dtype=torch.float64), f"after the scaling of all momenta by {factor:.3g}"


#: What draws the matrix of each symmetry that acts on four-momenta alone.
LORENTZ: dict[str, Draw] = {
    "rotation": _rotation, "rotation_z": _rotation_z, "boost": _boost, "boost_z": _boost_z,
    "reflection": _reflection("xyz"), "reflection_x": _reflection("x"), "reflection_y": _reflection("y"),
    "reflection_z": _reflection("z"), "scaling": _scaling,
}  # fmt: skip


def transformed(name: str, events: Events, momenta: Momenta, random: torch.Generator, max_gamma: float) -> Change:
    """Transform the four-momenta of each event by its own matrix."""
    x, slot, ptr = events.particles
    drawn = [LORENTZ[name](random, max_gamma) for _ in range(len(ptr) - 1)]
    matrix = torch.stack([one for one, _ in drawn])
    event = ptr_to_batch(ptr)
    p4 = torch.einsum("nij,nj->ni", matrix[event], momenta.read(x))
    masses = momenta.masses(x)
    if masses is not None and name == "scaling":
        masses = masses * matrix[event, 0, 0]
    particles = Particles(momenta.write(x, p4, masses), slot, ptr)
    everyone = torch.arange(len(x))
    return Change(events._replace(particles=particles), everyone, everyone >= 0, matrix, [said for _, said in drawn])


# ----------------------------------------------------------------------------------------- emissions: one particle more

#: Steps of a limit: energies of emissions relative to the mean of the event, or angles in radians.
LIMITS = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)


def room_for_one(events: Events, most: int | None) -> list[int]:
    """Return the events that have a particle, and room for another one."""
    lengths = events.lengths.tolist()
    return [event for event, n in enumerate(lengths) if n and (most is None or n < most)]


class _Emission(NamedTuple):
    """Momenta of the old and the new particles, and their shares of the masses."""

    old: Tensor
    new: Tensor
    old_mass: Tensor
    new_mass: Tensor
    words: list[str]


def emissions(
    name: str, events: Events, momenta: Momenta, random: torch.Generator, steps: Sequence[float], most: int | None
) -> list[Change]:
    """Return the events with one more particle each, once for each step; the steps differ in nothing else.

    ``soft_emission``: a massless particle in a random direction, whose energy is the step times the mean energy of the
    event's particles. ``collinear_split``: a random particle is split into two that share its four-momentum, with the
    step as the angle between them. The new particle comes last, in the first free slot, and has the other features of
    the particle that it comes from.
    """
    x, slot, ptr = events.particles
    event, lengths = ptr_to_batch(ptr), events.lengths
    p4, masses = momenta.read(x), momenta.masses(x)
    emitter = ptr[:-1] + (torch.rand(len(lengths), generator=random, dtype=torch.float64) * lengths).long()
    direction = torch.stack([_direction(random) for _ in lengths])
    if momenta.is_transverse:
        direction = torch.nn.functional.normalize(direction * torch.tensor([1.0, 1.0, 0.0]), dim=1)
    share = 0.2 + 0.6 * torch.rand(len(lengths), generator=random, dtype=torch.float64)
    mean_energy = torch.zeros(len(lengths), dtype=torch.float64).index_add(0, event, p4[:, 3]) / lengths
    # new particles follow the old ones in each event
    source, is_new = torch.cat([torch.arange(len(x)), emitter]), torch.arange(len(x) + len(emitter)) >= len(x)
    order = torch.cat([event, torch.arange(len(lengths))]).argsort(stable=True)
    slots = torch.cat([slot, torch.tensor(_free_slots(slot, ptr, most), dtype=torch.long)])
    found = []
    for step in steps:
        kept = ~is_new
        if name == "soft_emission":
            made = _soft(p4, step * mean_energy, direction, step)
        else:
            made = _collinear(p4, emitter, share, direction, step, emitter - ptr[:-1])
            kept[emitter] = False
        mass = None if masses is None else torch.cat([made.old_mass * masses, made.new_mass * masses[emitter]])
        features = momenta.write(x[source], torch.cat([made.old, made.new]), mass)
        features[kept] = x[source[kept]]  # the same bits as before
        particles = Particles(features[order], slots[order], lengths_to_ptr(lengths + 1))
        found.append(Change(events._replace(particles=particles), source[order], kept[order], None, made.words))
    return found


def _soft(p4: Tensor, energy: Tensor, direction: Tensor, step: float) -> _Emission:
    new = torch.cat([direction, torch.ones_like(direction[:, :1])], dim=1) * energy.unsqueeze(1)
    words = [f"with one more particle of {step:.0e} of the mean energy, along {_shown(d)}" for d in direction]
    return _Emission(p4, new, torch.ones_like(p4[:, 0]), torch.zeros_like(energy), words)


def _collinear(p4: Tensor, emitter: Tensor, share: Tensor, direction: Tensor, angle: float, place: Tensor) -> _Emission:
    old, old_mass, z = p4.clone(), torch.ones_like(p4[:, 0]), share.unsqueeze(1)
    # turned such that their sum is the original particle, up to the square of the angle
    old[emitter] = _turned((1 - z) * p4[emitter], direction, -angle * z)
    old_mass[emitter] = 1 - share
    words = [
        f"with particle {i} split in two, of {z:.3g} and {1 - z:.3g} of its momentum, {angle:.0e} rad apart"
        for i, z in zip(place.tolist(), share.tolist(), strict=True)
    ]
    return _Emission(old, _turned(z * p4[emitter], direction, angle * (1 - z)), old_mass, share, words)


def _free_slots(slot: Tensor, ptr: Tensor, most: int | None) -> list[int]:
    """Return the slot after the last occupied one of each event; the first free one where there is none after it."""
    free = []
    for begin, end in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        taken = set(slot[begin:end].tolist())
        behind = max(taken, default=-1) + 1
        free.append(behind if most is None or behind < most else min(set(range(most)) - taken))
    return free


def _turned(p4: Tensor, towards: Tensor, angle: Tensor) -> Tensor:
    """Turn momenta by an angle towards the component of other vectors that is perpendicular to them."""
    momentum = p4[:, :3]
    p2 = momentum.square().sum(1, keepdim=True)
    across = towards - momentum * (towards * momentum).sum(1, keepdim=True) / p2.clamp(min=1e-300)
    across = torch.nn.functional.normalize(across, dim=1) * p2.sqrt()
    turned = torch.where(angle == 0, momentum, momentum * angle.cos() + across * angle.sin())
    return torch.cat([turned, p4[:, 3:]], dim=1)


# ------------------------------------------------------------------------------------------------------------- rounding

#: Relative rounding error of a few operations.
_LAST_DIGITS = 1e-15


def moved_by_rounding(events: Events, random: torch.Generator, momenta: Momenta) -> Events:
    """Return the events with other last digits of their momenta, or of all features without momenta; integers stay."""
    x = events.particles.x
    factor = 1 + _LAST_DIGITS * torch.randn(x.shape, generator=random, dtype=torch.float64)
    columns = list(momenta.columns.values()) or list(range(x.size(1)))
    moved = x.clone()
    moved[:, columns] = torch.where(x == x.round(), x, x * factor)[:, columns]
    return events._replace(particles=events.particles._replace(x=moved))
