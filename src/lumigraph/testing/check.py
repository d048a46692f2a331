"""Check which symmetries a model has: events changed at random must give the same output."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_args

import torch
from torch import nn
from torch_geometric.data import Data

from ..events.batches import feature_names, names_of
from ..events.checks import check_counts, check_number
from ..events.errors import near
from ..events.names import Names
from ..model import Model
from .checked_events import Events, given_events, random_events
from .momentum_columns import Momenta
from .subject import Form, OutputOf, Subject, double_precision
from .symmetries import SYMMETRIES
from .symmetry_report import SymmetryCheck, SymmetryReport
from .trials import NotApplicable, Trials

__all__ = ["check_symmetry"]


def check_symmetry(
    model: nn.Module | Model | Callable[..., Any],
    symmetries: str | Sequence[str] | None = None,
    *,
    feats: Sequence[str] | None = None,
    inputs: Data | None = None,
    form: Form = "batch",
    call: Callable[..., Any] | None = None,
    output: OutputOf | None = None,
    equivariant: bool = False,
    max_particles: int | None = None,
    max_gamma: float | int = 5.0,
    tolerance: float = 1e-8,
    trials: int = 4,
    seed: int = 0,
) -> SymmetryReport:
    r"""Check which symmetries a model has, in double precision, on events of 0, 1, 2 and many particles.

    For events :math:`x` and random elements :math:`g` of a symmetry, one for each event, the output :math:`f` must not
    change, or must change in the same way:

    .. math:: f(g x) = f(x), \qquad f(g x) = g f(x)\ \text{(equivariant)}

    - ``permutation``: the particles of an event in another order;
    - ``padding``: each event alone, at another place in the batch, between crowded events, and in wider matrices, with
      arbitrary numbers in the empty slots if the model is given a mask;
    - ``rotation``, ``boost``: in random directions; ``rotation_z``, ``boost_z``: about and along the beam;
    - ``reflection``: of all three components of momenta (parity); ``reflection_x``, ``_y``, ``_z`` of one;
    - ``scaling``: all momenta and masses by a factor between 0.1 and 10;
    - ``soft_emission``: one more particle, in the limit of zero energy;
    - ``collinear_split``: one particle split into two that fly in the same direction, exactly and in the limit.

    Parameters
    ----------
    model
        A head, layer, ``Sequential`` or `lumigraph.Model`, any module, or a function. It is not modified: a copy of it
        is checked, in evaluation mode.
    symmetries
        One of `SYMMETRIES`, or several; by default all that the features allow.
    feats
        Names of the features per particle, by which the momenta are found: (px, py, pz, E) or (pt, eta, phi, mass or
        E), in any order, among others, which are not changed. By default those of the head; of a model without a head
        those of ``inputs`` if they are named, otherwise px, py, pz, E.
    inputs
        Events to check on, as a Batch with x and, if the model takes them, u and cat; by default random ones. A trained
        model is best checked on events like those that it was trained on.
    form
        What the model takes: a ``batch``; ``rows``, which are a matrix (events, slots, features) and a mask (events,
        slots), true where there is a particle; or a ``matrix`` alone, 0 in empty slots.
    call
        How to call it, if not ``model(batch)``, ``model(rows, mask)`` or ``model(matrix)``: a function of the model and
        these, such as ``lambda model, batch: model(batch.x, batch.batch)``. Layers of PyG are called with x and all
        pairs of particles.
    output
        Whether the output has a row per event, ``events``, or per particle, ``particles``. The rows of particles move
        with them. By default layers of PyG have a row per particle, and everything else has one per event.
    equivariant
        Whether the output is four-momenta (..., 4) that rotate, boost, reflect and scale as the particles do.
    max_particles
        Most particles per event, and the fixed number of slots of matrices; by default that of the head, otherwise any
        number.
    max_gamma
        Largest Lorentz factor of boosts.
    tolerance
        Largest deviation relative to the scale of the output, see Notes.
    trials
        How often the random changes are drawn.
    seed
        Seed of the random numbers.

    Returns
    -------
    SymmetryReport
        It is true if all symmetries hold, and prints as a table. ``raise_if_broken`` is the line for a test.

    Raises
    ------
    ValueError
        If a name is unknown, the features hold no momenta, or the model cannot be checked: its output is random, not
        finite or not in double precision, or does not react to the particles of most events.
    TypeError
        If the model is not callable, does not take particles, or does not return a tensor.

    Notes
    -----
    **Precision.** The scale of each number of the output is its largest change when the particles of an event are
    replaced by others, or one is removed. A deviation of more than ``tolerance`` of it is compared with rounding: with
    the change of the output when the last digits of the input change. Only a deviation beyond 30 times that, or beyond
    1e-3 of the scale, is a broken symmetry.

    **Limits.** Energies and angles are 1e-2, 1e-4, ..., 1e-10 (of the mean energy; rad). A limit holds if the deviation
    is within the tolerance at the last step, or falls with a power of at least 1/4 of it. It falls with the power 1 in
    networks that weight a smooth function of the direction by the energy.

    **Weights.** Parameters that are 0 throughout, such as biases before training, are drawn at random in the copy, anew
    in each trial: zeros would hide faults, such as an empty slot that counts.

    **Units.** Momenta of random events are of the order of 1; symmetries do not depend on the unit.

    A symmetry that holds on a few events need not hold everywhere; one that is broken on one is broken.

    References
    ----------
    .. [1] P. Komiske, E. Metodiev, J. Thaler, "Energy Flow Networks", arXiv:1810.05165 (infrared and collinear safety).

    Examples
    --------
    In a test, the whole line is ``check_symmetry(head, ["permutation", "padding"]).raise_if_broken()``.

    >>> from lumigraph import InteractionNet
    >>> p4 = ["px", "py", "pz", "E"]
    >>> head = InteractionNet([f"particle_{f}" for f in p4], ["particle"], p4, intfunc_depth=2, intfunc_width=8,
    ...                       intfunc_out_sz=4, outfunc_depth=2, outfunc_width=8, outfunc_out_sz=4, agg_method="sum")
    >>> report = check_symmetry(head, ["permutation", "padding", "rotation"])
    >>> report["permutation"].holds, report["padding"].holds, report["rotation"].holds
    (True, True, False)
    """
    given = dict(locals())
    names = _names(symmetries)
    _check_arguments(form, output, trials, max_gamma, tolerance)
    with double_precision():
        subject = Subject(model, call, form, output, equivariant, max_particles)
        momenta = _momenta(subject, feats, inputs)
        events = _events(subject, momenta, inputs, seed)
        checks: dict[str, SymmetryCheck] = {}
        not_checked: dict[str, str] = {}
        for name in names:
            # a generator per symmetry: each is checked on the same changes alone and among others
            random = torch.Generator().manual_seed(seed)
            try:
                checks[name] = Trials(subject, momenta, tolerance, trials, float(max_gamma), random).check(name, events)
            except NotApplicable as error:
                if symmetries is not None:
                    raise ValueError(str(error)) from None
                not_checked[name] = str(error)
    return SymmetryReport(subject.name, checks, _options(given), not_checked)


def _names(symmetries: str | Sequence[str] | None) -> list[str]:
    names = SYMMETRIES if symmetries is None else [symmetries] if isinstance(symmetries, str) else symmetries
    if not names:
        raise ValueError(f"symmetries must name at least one symmetry, got none: {near('', SYMMETRIES)}")
    for name in names:
        if name not in SYMMETRIES:
            raise ValueError(f"symmetries must be names of symmetries, got {name!r}: {near(name, SYMMETRIES)}")
    return list(dict.fromkeys(names))


def _options(given: dict[str, Any]) -> str:
    """Return the seed, and the other optional arguments that differ from their defaults, as written in a call."""
    usual = inspect.signature(check_symmetry).parameters
    shown = {name: value for name, value in given.items() if usual[name].kind is inspect.Parameter.KEYWORD_ONLY}
    shown = {name: value for name, value in shown.items() if name == "seed" or value is not usual[name].default}
    return "".join(f", {k}={'...' if k in ('inputs', 'call') else repr(v)}" for k, v in shown.items())


def _check_arguments(form: Any, output: Any, trials: Any, max_gamma: Any, tolerance: Any) -> None:
    if form not in get_args(Form):
        raise ValueError(f"form must be a form of events, got {form!r}: {near(form, get_args(Form))}")
    if output is not None and output not in get_args(OutputOf):
        raise ValueError(f"output must be what has a row of output, got {output!r}: {near(output, get_args(OutputOf))}")
    check_counts(trials=trials)
    if check_number("max_gamma", max_gamma) <= 1:
        raise ValueError(f"max_gamma must be above 1, got {max_gamma}: a boost with gamma 1 changes nothing")
    if not 0 < check_number("tolerance", tolerance) < 1:
        raise ValueError(
            f"tolerance must be between 0 and 1, got {tolerance}: it is relative to the scale of the output"
        )


def _momenta(subject: Subject, feats: Sequence[str] | None, inputs: Data | None) -> Momenta:
    known = () if inputs is None else names_of(inputs).feats_per_vec
    if feats is None:
        feats = known if known and subject.head is None else subject.feats
    elif known:
        feats = feature_names(inputs, feats)
    momenta = Momenta(feats)
    if subject.head is not None and len(momenta.feats) != len(subject.feats):
        raise ValueError(f"feats must name the {len(subject.feats)} features {subject.feats}, got {momenta.feats}")
    return momenta


def _events(subject: Subject, momenta: Momenta, inputs: Data | None, seed: int) -> Events:
    most = subject.max_particles
    if most is not None:
        check_counts(max_particles=most)
    if inputs is not None:
        return given_events(inputs, momenta.feats)
    made = random_events(momenta, torch.Generator().manual_seed(seed), most, *subject.event_inputs)
    # not the names in feats=: a head refuses a Batch with other names than its own
    return made._replace(names=Names(momenta.feats if subject.head is None else subject.feats))
