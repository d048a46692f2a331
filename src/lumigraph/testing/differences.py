"""How far outputs differ, relative to how strongly a model reacts to its particles, and how much of it is rounding."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..events.graph import lengths_to_ptr, ptr_to_batch
from ..events.particles import Particles
from .checked_events import Events
from .momentum_columns import Momenta
from .subject import Subject
from .symmetries import Change, moved_by_rounding

__all__ = ["Baseline", "Difference"]

#: A symmetry is not broken by this many times the effect of rounding, if that is at most this share of the scale.
_NOISE, _MOST_NOISE = 30.0, 1e-3
#: An event does not react to its particles if other ones change its output by a smaller share of the output than this.
_NO_REACTION = 1e-9
#: The scale of each number of the output is at least this share of the largest scale.
_LEAST_PART = 0.1


class Difference(NamedTuple):
    """The largest difference between two outputs."""

    deviation: float
    threshold: float
    absolute: float
    event: int
    values: tuple[float, float]

    @property
    def excess(self) -> float:
        """The deviation in units of what is allowed."""
        return self.deviation / self.threshold


class Baseline:
    """The output of a model for events as they are, and its scale.

    Parameters
    ----------
    subject, events, momenta
        The model, the events and their four-momenta.
    tolerance
        Largest deviation, relative to the scale, that is not compared with rounding.
    random
        Generator of other particles and of rounding errors.

    Raises
    ------
    ValueError
        If the output is not finite, or not the same when it is computed again.
    """

    def __init__(
        self, subject: Subject, events: Events, momenta: Momenta, tolerance: float, random: torch.Generator
    ) -> None:
        self.subject, self.events, self.momenta = subject, events, momenta
        self.tolerance, self.random = tolerance, random
        self.output = subject(events)
        lengths = events.lengths.tolist()
        bad = ~self.output.isfinite().all(1)
        if bool(bad.any()):
            event = int(self.event_of_rows(events)[bad.nonzero()[0]])
            raise ValueError(
                f"{subject.name} must return finite numbers, got {self.output[bad][0].tolist()[:4]} for event {event} "
                f"of {lengths[event]} particles: choose other events with inputs=..."
            )
        size = float(self.output.abs().max()) if self.output.numel() else 0.0
        if not torch.allclose(subject(events), self.output, rtol=1e-10, atol=1e-12 * size):
            raise ValueError(
                f"{subject.name} must return the same output when it is called again in evaluation mode: something in "
                "it is random (dropout by torch.nn.functional without training=self.training?) or keeps a state"
            )
        self.scale, self.reacts = self._scale()

    def event_of_rows(self, events: Events) -> Tensor:
        """Return the event of each row of the output."""
        if self.subject.output == "particles":
            return ptr_to_batch(events.particles.ptr)
        return torch.arange(len(events.lengths))

    def expected(self, change: Change, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of the output that a symmetry determines after a change, and what they must be."""
        if self.subject.output == "events":
            rows, wanted = torch.arange(len(before)), before
        else:
            rows = change.kept.nonzero()[:, 0]
            wanted = before[change.source[rows]]
        if self.subject.equivariant and change.matrix is not None:
            matrix = change.matrix[self.event_of_rows(change.events)[rows]]
            wanted = torch.einsum("rij,rkj->rki", matrix, wanted.unflatten(1, (-1, 4))).flatten(1)
        return rows, wanted

    def _scale(self) -> tuple[Tensor, bool]:
        """Return how strongly each number of the output reacts to other particles, and whether most events react."""
        x, slot, ptr = self.events.particles
        drawn = torch.randint(len(x), (len(x),), generator=self.random)
        reaction = self._reaction(Particles(x[drawn], slot, ptr), torch.arange(len(x)))
        lengths = ptr.diff()
        is_last = torch.zeros(len(x), dtype=torch.bool)
        is_last[(ptr[1:] - 1)[lengths > 0]] = True
        kept = (~is_last).nonzero()[:, 0]
        if len(kept):
            fewer = Particles(x[kept], slot[kept], lengths_to_ptr((lengths - 1).clamp(min=0)))
            reaction = reaction.maximum(self._reaction(fewer, kept))
        size, found = self.output.abs().amax(0), reaction.amax(0)
        reacts = (reaction > _NO_REACTION * size.max()).any(1)[lengths[self.event_of_rows(self.events)] > 0]
        # a number that does not react, such as a hidden unit that is off, gets a share of the largest scale
        scale = torch.maximum(found, 1e-6 * size).clamp(min=max(_LEAST_PART * float(found.max()), 1e-300))
        if self.subject.equivariant:  # the components of a vector share a scale
            scale = scale.unflatten(0, (-1, 4)).amax(1, keepdim=True).expand(-1, 4).flatten()
        return scale, 2 * int(reacts.sum()) >= len(reacts)

    def _reaction(self, particles: Particles, rows: Tensor) -> Tensor:
        """Return how much each row of the output changes with other particles, which replace those in ``rows``."""
        found = self.subject(self.events._replace(particles=particles))
        before = self.output if self.subject.output == "events" else self.output[rows]
        change = torch.zeros_like(self.output)
        change[... if self.subject.output == "events" else rows] = (found - before).nan_to_num(0.0, 0.0, 0.0).abs()
        return change

    def rounding(self, events: Events, output: Tensor) -> Float[Tensor, " rows"]:
        """Return how much each row of the output changes, relative to the scale, with the last digits of the input."""
        moved = [self.subject(moved_by_rounding(events, self.random, self.momenta)) - output for _ in range(3)]
        return (torch.stack(moved).abs() / self.scale).nan_to_num(torch.inf).amax((0, 2))

    def difference(
        self,
        after: Float[Tensor, "rows numbers"],
        wanted: Float[Tensor, "rows numbers"],
        event: Int[Tensor, " rows"],
        noise: Float[Tensor, " rows"] | None = None,
    ) -> Difference:
        """Return the largest difference between outputs and what they must be, of events with these numbers.

        ``noise`` is the effect of rounding on each row, if known.
        """
        if after.numel() == 0:
            return Difference(0.0, self.tolerance, 0.0, 0, (0.0, 0.0))
        absolute = (after - wanted).abs().nan_to_num(torch.inf, torch.inf)
        ratio = absolute / self.scale
        allowed = torch.full_like(ratio[:, 0], self.tolerance)
        if noise is not None:
            allowed = allowed.maximum((_NOISE * noise).clamp(max=_MOST_NOISE))
        excess = ratio / allowed.unsqueeze(1)
        row, column = divmod(int(excess.argmax()), excess.size(1))
        values = (float(wanted[row, column]), float(after[row, column]))
        return Difference(
            float(ratio[row, column]), float(allowed[row]), float(absolute[row, column]), int(event[row]), values
        )
