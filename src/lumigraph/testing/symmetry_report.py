"""The result of a check of symmetries: a table, and a message that tells how to reproduce a failure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch_geometric.data import Batch

__all__ = ["SymmetryCheck", "SymmetryReport"]


@dataclass(frozen=True)
class SymmetryCheck:
    """The result for one symmetry.

    Parameters
    ----------
    symmetry
        Its name.
    holds
        Whether the output changes by no more than ``threshold``; in a limit (``soft_emission``, ``collinear_split``),
        whether the deviation goes to 0 with a power of the step.
    deviation
        Largest change of a number of the output, relative to its scale; in a limit, the one at the last step.
    threshold
        Largest deviation that counts as rounding: ``tolerance``, or more where the effect of rounding is larger.
    absolute
        The same change, in the unit of the output.
    event, particles
        Event with this deviation, and its number of particles.
    words
        What was done to that event.
    values
        The number of the output before and after.
    steps
        Of a limit: each energy or angle with the deviation there; an exactly collinear split has angle 0.
    order
        Of a limit: the power of the step with which the deviation falls; None if no deviation is left.
    before, after
        The event before and after the change, as Batches of one event in float64; ``after`` is None if only its
        surroundings changed.
    """

    symmetry: str
    holds: bool
    deviation: float
    threshold: float
    absolute: float
    event: int
    particles: int
    words: str
    values: tuple[float, float]
    steps: tuple[tuple[float, float], ...] = ()
    order: float | None = None
    before: Batch | None = field(default=None, repr=False, compare=False)
    after: Batch | None = field(default=None, repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.holds

    @property
    def where(self) -> str:
        """The event with the largest deviation, in words."""
        return f"event {self.event} ({self.particles} particle{'' if self.particles == 1 else 's'})"

    def explain(self) -> str:
        """Return what happened where the deviation is largest, in a few lines."""
        lines = [
            f"{self.symmetry}: {'holds' if self.holds else 'BROKEN'}",
            f"  largest deviation {self.deviation:.3g} of the scale of the output ({self.absolute:.3g} absolute), "
            f"allowed {self.threshold:.3g}",
            f"  in {self.where}, {self.words}:",
            f"  {self.values[0]:.10g} became {self.values[1]:.10g}",
        ]
        if self.steps:
            fall = "no deviation is left" if self.order is None else f"it falls with the power {self.order:.1f}"
            lines.append("  in the limit: " + ", ".join(f"{s:.0e}: {d:.2g}" for s, d in self.steps) + f"; {fall}")
        return "\n".join(lines)


@dataclass(frozen=True)
class SymmetryReport:
    """Which symmetries a model has; it is true if the model has all that were checked.

    Parameters
    ----------
    model
        Name of the model.
    checks
        Results by the name of the symmetry; ``report["boost"]`` is short for ``report.checks["boost"]``.
    options
        The other arguments of the call, to repeat it.
    not_checked
        Why other symmetries could not be checked, by name; only if all were asked for.
    """

    model: str
    checks: Mapping[str, SymmetryCheck]
    options: str = ""
    not_checked: Mapping[str, str] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether all hold."""
        return all(check.holds for check in self.checks.values())

    def __bool__(self) -> bool:
        return self.holds

    def __getitem__(self, symmetry: str) -> SymmetryCheck:
        return self.checks[symmetry]

    def raise_if_broken(self) -> None:
        """Raise an AssertionError that says what happened, unless all symmetries hold."""
        broken = [check for check in self.checks.values() if not check]
        if not broken:
            return
        found = "\n".join(
            f'{check.explain()}\n  again: report = check_symmetry(model, "{check.symmetry}"{self.options})'
            + (f'; report["{check.symmetry}"].before and .after are the event' if check.after is not None else "")
            for check in broken
        )
        raise AssertionError(f"{self.model} does not have all the symmetries that it should have\n{found}")

    def __str__(self) -> str:
        width = max(map(len, [self.model, *self.checks, *self.not_checked]))
        lines = [f"{self.model:{width}}  holds  deviation  allowed"]
        for name, check in self.checks.items():
            more = "" if check.order is None else f"falls with the power {check.order:.1f}"
            if not check.holds:
                more = f"{check.where}, {check.words}"
            line = (
                f"{name:{width}}  {'yes' if check.holds else 'NO':5}  {check.deviation:<9.2g}  {check.threshold:<7.1g}"
            )
            lines.append(f"{line}  {more}".rstrip())
        lines += [f"{name:{width}}  -      not checked: {why}" for name, why in self.not_checked.items()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        found = ", ".join(f"{name}={'holds' if check else 'BROKEN'}" for name, check in self.checks.items())
        return f"{type(self).__name__}({self.model}: {found})"
