"""The course of a check: change events, call the model, compare."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from ..events.graph import lengths_to_ptr, ptr_to_slot
from ..events.particles import Particles
from .checked_events import Events, joined
from .differences import Baseline, Difference
from .momentum_columns import Momenta
from .subject import CallError, Subject
from .symmetries import LIMITS, LORENTZ, Change, emissions, permuted, room_for_one, transformed
from .symmetry_report import SymmetryCheck

__all__ = ["NotApplicable", "Trials"]

#: A limit holds if the deviation falls with at least this power of the step, and is at most this at the last step.
_LEAST_ORDER, _ALMOST = 0.25, 1e-2
#: Most events that are checked alone.
_ALONE = 16


class NotApplicable(ValueError):
    """These features or events do not allow a check of the symmetry."""


class Trials:
    """The trials of one symmetry.

    Parameters
    ----------
    subject
        Model under test.
    momenta, tolerance, trials, max_gamma
        See `lumigraph.testing.check_symmetry`.
    random
        Generator of the changes.
    """

    def __init__(
        self,
        subject: Subject,
        momenta: Momenta,
        tolerance: float,
        trials: int,
        max_gamma: float,
        random: torch.Generator,
    ) -> None:
        self.subject, self.momenta, self.tolerance = subject, momenta, tolerance
        self.trials, self.max_gamma, self.random = trials, max_gamma, random

    def check(self, name: str, events: Events) -> SymmetryCheck:
        """Check one symmetry.

        Raises
        ------
        NotApplicable
            If the features or the events do not allow it.
        ValueError
            If the symmetry seems to hold only because the model does not react to the particles of most events.
        """
        if name not in ("permutation", "padding") and self.momenta.missing:
            raise NotApplicable(self.momenta.missing)
        if self.momenta.is_transverse and name in ("rotation", "boost", "boost_z", "reflection_z"):
            raise NotApplicable(f"the features {self.momenta.feats} have no momentum along the beam, pz or eta")
        if name == "permutation" and int(events.lengths.max()) < 2:
            raise NotApplicable("no event has two particles to exchange")
        if name in ("soft_emission", "collinear_split"):
            chosen = room_for_one(events, self.subject.max_particles)
            if not chosen:
                raise NotApplicable(f"{name} needs an event with a particle and room for one more, and there is none")
            events = events.select(chosen)
        else:
            chosen = list(range(len(events.lengths)))
        results, reacts, base = [], False, None
        for _ in range(self.trials):
            if base is None or self.subject.unset:
                self.subject.draw(self.random)
                base = Baseline(self.subject, events, self.momenta, self.tolerance, self.random)
            reacts = reacts or base.reacts
            if name == "padding":
                results.append(self._padding(base))
            elif name in ("soft_emission", "collinear_split"):
                results.append(self._limit(name, base, chosen))
            else:
                results.append(self._transformation(name, base))
        worst = min(results, key=lambda check: (check.holds, -check.deviation))
        if worst.holds and not reacts:
            raise ValueError(
                f"{self.subject.name} must react to the particles of most events for a check of {name}, got the same "
                "output: large numbers may saturate its activations (leave out the last one), or all units of a layer "
                "may be off; give typical events with inputs=..."
            )
        return worst

    # ------------------------------------------------------------------------------------------------ transformations

    def _transformation(self, name: str, base: Baseline) -> SymmetryCheck:
        if name in LORENTZ:
            change = transformed(name, base.events, self.momenta, self.random, self.max_gamma)
        else:
            change = permuted(base.events, self.random)
        difference = self._compared(base, change)
        return self._result(name, difference.excess <= 1, difference, base, change)

    def _compared(self, base: Baseline, change: Change) -> Difference:
        rows, wanted = base.expected(change, base.output)
        event = base.event_of_rows(change.events)[rows]
        output = self.subject(change.events)
        found = base.difference(output[rows], wanted, event)
        if found.excess <= 1:
            return found
        # a larger deviation may still be rounding, where momenta nearly cancel
        noise = base.rounding(change.events, output)[rows]
        return base.difference(output[rows], wanted, event, noise)

    # ---------------------------------------------------------------------------------------------------------- limits

    def _limit(self, name: str, base: Baseline, numbers: Sequence[int]) -> SymmetryCheck:
        """Follow the deviation to its limit; ``numbers`` are those of the events of the base among all."""
        steps = LIMITS if name == "soft_emission" else (*LIMITS, 0.0)
        last = len(LIMITS) - 1
        changes = emissions(name, base.events, self.momenta, self.random, steps, self.subject.max_particles)
        found = [self._compared(base, change) for change in changes]
        order = _order([d.deviation for d in found[: last + 1]], 1e-3 * self.tolerance)
        falls = order is not None and order >= _LEAST_ORDER and found[last].deviation <= _ALMOST
        holds, shown = found[last].excess <= 1 or falls, last
        if found[-1].excess > 1 and len(found) > len(LIMITS):  # split exactly, not only in the limit
            holds, shown = False, len(LIMITS)
        course = tuple((step, d.deviation) for step, d in zip(steps, found, strict=True))
        return self._result(name, holds, found[shown], base, changes[shown], course, order, numbers)

    # --------------------------------------------------------------------------------------------------------- padding

    def _padding(self, base: Baseline) -> SymmetryCheck:
        event_of_rows = base.event_of_rows(base.events)
        found = []
        for words, rows, output in self._surroundings(base):
            try:
                after = output()
            except CallError as error:  # the call worked in the original surroundings
                after, words = torch.full_like(base.output[rows], torch.nan), f"{words} ({error})"
            found.append((base.difference(after, base.output[rows], event_of_rows[rows]), words, rows, after))
        difference, words, rows, after = max(found, key=lambda one: one[0].excess)
        if difference.excess > 1:  # the effect of rounding depends on the event alone, not on its surroundings
            noise = base.rounding(base.events, base.output)[rows]
            difference = base.difference(after, base.output[rows], event_of_rows[rows], noise)
        return self._result("padding", difference.excess <= 1, difference, base, words=words)

    def _surroundings(self, base: Baseline) -> Iterator[tuple[str, Tensor, Callable[[], Tensor]]]:
        """Yield the same events in other surroundings: in words, the rows of the output, and a function for them."""
        events, per_event, subject = base.events, self.subject.output == "events", self.subject
        b = len(events.lengths)

        def rows_of(chosen: Sequence[int]) -> Tensor:
            return torch.tensor(list(chosen)) if per_event else events.rows_of(chosen)

        def part(of: Events, first: int, number: int) -> Tensor:
            return subject(of)[first : first + number]

        any_particles = next((event for event, n in enumerate(events.lengths.tolist()) if n), 0)
        for event in range(0, b, max(1, math.ceil(b / _ALONE))):
            rows = rows_of([event])
            if events.lengths[event]:
                yield "alone", rows, partial(part, events.select([event]), 0, len(rows))
            else:  # a batch without any particle is another matter, so that a second event comes along
                with_another = events.select([event, any_particles])
                yield "with one other event", rows, partial(part, with_another, 0, len(rows))
        everyone, backwards = rows_of(range(b)), list(reversed(range(b)))
        yield "with the events in reverse order", rows_of(backwards), partial(subject, events.select(backwards))
        crowd, n = self._crowd(events), len(everyone)
        size = len(crowd.lengths) if per_event else len(crowd.particles.x)
        yield "with other events after it", everyone, partial(part, joined([events, crowd]), 0, n)
        yield "with other events before it", everyone, partial(part, joined([crowd, events]), size, n)
        if subject.form == "batch" and not subject.takes_tuples:
            return
        for further in (0, 1, 7) if subject.max_particles is None else (0,):
            in_them = ", arbitrary numbers in the empty ones" if subject.form == "rows" else ""
            words = f"with {further} further slots{in_them}"
            yield words, everyone, partial(subject.padded, events, further, self.random)

    def _crowd(self, events: Events) -> Events:
        """Return other events, the first one with more particles than any event if the model allows it."""
        x, lengths, most = events.particles.x, events.lengths, self.subject.max_particles
        many = int(lengths.max()) + 5 if most is None else most
        counts = torch.tensor([many, 0, 2 if most is None else min(2, most)]) * (len(x) > 0)
        random = self.random
        drawn = torch.randint(max(len(x), 1), (int(counts.sum()),), generator=random)
        others = torch.randint(len(lengths), (len(counts),), generator=random)
        ptr = lengths_to_ptr(counts)
        u, cat = (None if value is None else value[others] for value in (events.u, events.cat))
        return Events(Particles(x[drawn], ptr_to_slot(ptr), ptr), u, cat, events.names)

    # --------------------------------------------------------------------------------------------------------- results

    def _result(
        self,
        name: str,
        holds: bool,
        difference: Difference,
        base: Baseline,
        change: Change | None = None,
        steps: tuple[tuple[float, float], ...] = (),
        order: float | None = None,
        numbers: Sequence[int] | None = None,
        words: str = "",
    ) -> SymmetryCheck:
        event = difference.event
        return SymmetryCheck(
            symmetry=name,
            holds=holds,
            deviation=difference.deviation,
            threshold=difference.threshold,
            absolute=difference.absolute,
            event=event if numbers is None else numbers[event],
            particles=int(base.events.lengths[event]),
            words=words if change is None else change.words[event],
            values=difference.values,
            steps=steps,
            order=order,
            before=base.events.select([event]).batch(),
            after=None if change is None else change.events.select([event]).batch(),
        )


def _order(deviations: Sequence[float], floor: float) -> float | None:
    """Return the power of the step with which deviations finally fall, from those that are beyond rounding."""
    usable = [(step, d) for step, d in zip(LIMITS, deviations, strict=True) if d > floor]
    if len(usable) < 2:
        return None
    (before, larger), (after, smaller) = usable[-2:]
    if not math.isfinite(larger) or not math.isfinite(smaller):
        return -math.inf
    return math.log(larger / smaller) / math.log(before / after)
