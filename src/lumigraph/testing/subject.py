"""The model under test: a copy in double precision, and how it is called on events."""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from ..blocks import AbsHead
from ..blocks.heads.abs_head import AbsMatrixHead
from ..events.graph import CompleteGraph, ptr_to_batch
from ..events.particles import rows_of_particles
from ..model import Model
from ..nn import InteractionConv, LorentzBoostConv
from .checked_events import Events
from .momentum_columns import P4

__all__ = ["CallError", "Form", "OutputOf", "Subject", "double_precision"]

#: What a model is called with: a Batch; a matrix (events, slots, features) and the mask (events, slots) of particles;
#: or that matrix alone, 0 in empty slots.
Form: TypeAlias = Literal["batch", "rows", "matrix"]
#: What the output has a row of.
OutputOf: TypeAlias = Literal["events", "particles"]


class CallError(ValueError):
    """A model does not take events, or does not return an output for each of them."""


class Subject:
    """A model under test, called on events.

    Parameters
    ----------
    model, call, form, output, equivariant, max_particles
        See `lumigraph.testing.check_symmetry`.
    """

    def __init__(
        self,
        model: nn.Module | Model | Callable[..., Any],
        call: Callable[..., Any] | None,
        form: Form,
        output: OutputOf | None,
        equivariant: bool,
        max_particles: int | None,
    ) -> None:
        self.model = _copied(model)
        self.name = type(self.model).__name__ if isinstance(model, nn.Module | Model) else _name(model)
        self.call, self.form, self.equivariant = call, form, equivariant
        modules = list(self.model.modules()) if isinstance(self.model, nn.Module) else []
        parameters = self.model.parameters() if modules else []
        #: parameters that are 0 throughout, such as biases before training
        self.unset = [p for p in parameters if p.requires_grad and not bool(p.any())]
        #: the outermost head, and the one that takes the particles
        self.outer = next((m for m in modules if isinstance(m, AbsHead)), None)
        self.head = next((m for m in modules if isinstance(m, AbsMatrixHead)), None)
        if self.takes_tuples and self.head is None:
            raise TypeError(f"the model must take particles, got {self.name}, which takes event features only")
        per_particle = isinstance(self.model, MessagePassing) and not isinstance(self.model, LorentzBoostConv)
        self.output: OutputOf = output or ("particles" if per_particle and call is None else "events")
        self.max_particles = self._most() if max_particles is None else max_particles

    def _most(self) -> int | None:
        if isinstance(self.model, LorentzBoostConv):
            return self.model.num_slots
        return None if self.head is None else self.head.max_particles

    def draw(self, random: torch.Generator) -> None:
        """Draw the parameters that are 0: with zero biases an empty slot may give 0 whether it is masked or not."""
        for parameter in self.unset:
            parameter.normal_(std=0.1, generator=random)

    @property
    def feats(self) -> list[str]:
        """Names of the features per particle: those of the head, (px, py, pz, E) without a head."""
        return list(P4) if self.head is None else list(self.head.feats_per_vec)

    @property
    def event_inputs(self) -> tuple[int, list[int]]:
        """Number of continuous event features that the model takes, and the size of each category."""
        if self.outer is None or self.outer is self.head:
            return 0, []
        flat = getattr(self.outer, "flat_head", self.outer)
        return getattr(flat, "n_columns", flat.n_cont_in), self.outer.cat_embedder.cat_szs

    @property
    def takes_tuples(self) -> bool:
        """Whether the model can be called with (flat, matrix) as well as with a Batch."""
        first = self.model[0] if isinstance(self.model, nn.Sequential) and len(self.model) else self.model
        return self.call is None and self.form == "batch" and isinstance(first, AbsHead)

    def __call__(self, events: Events) -> Tensor:
        """Return the output for events: one row per event or particle, flattened to one axis."""
        if self.form == "batch":
            return self._checked(self._called(*self._arguments(events)), events)
        return self.padded(events, 0, None)

    def _arguments(self, events: Events) -> tuple[Any, ...]:
        batch = events.batch()
        if self.call is None and isinstance(self.model, LorentzBoostConv):
            return batch.x, batch.slot, batch.ptr
        if self.call is None and isinstance(self.model, InteractionConv):
            return batch.x, CompleteGraph(batch.ptr)
        if self.call is None and isinstance(self.model, MessagePassing):
            return batch.x, CompleteGraph(batch.ptr).edge_index()
        return (batch,)

    def padded(self, events: Events, further: int, random: torch.Generator | None) -> Tensor:
        """Return the output for events in a matrix with further slots, which are random if ``random`` is given."""
        slots = self.max_particles
        needed = int(events.particles.slot.max()) + 1 if len(events.particles.slot) else 1
        rows, mask = rows_of_particles(events.particles, needed + further if slots is None else slots)
        if self.takes_tuples:
            rows = rows.masked_fill(~mask.unsqueeze(-1), torch.nan)
            row_wise = self.head is None or self.head.row_wise
            codes = [] if events.cat is None else [events.cat.double()]
            flat = [*([] if events.u is None else [events.u]), *codes]
            pair = (torch.cat(flat, dim=1) if flat else None, rows if row_wise else rows.transpose(1, 2))
            return self._checked(self._called(pair), events)
        if random is not None and self.form == "rows":
            garbage = 10 * torch.randn(rows.shape, generator=random, dtype=rows.dtype) * (1 + rows.abs().max())
            rows = torch.where(mask.unsqueeze(-1), rows, garbage)
        found = self._called(rows, mask) if self.form == "rows" else self._called(rows)
        if self.output == "particles" and isinstance(found, Tensor) and found.shape[:2] == mask.shape:
            found = found[ptr_to_batch(events.particles.ptr), events.particles.slot]
        return self._checked(found, events)

    def _called(self, *arguments: Any) -> Any:
        try:
            return self.model(*arguments) if self.call is None else self.call(self.model, *arguments)
        except Exception as error:
            text = str(error)
            if isinstance(error, RuntimeError | TypeError) and re.search("dtype|double|float64", text, re.IGNORECASE):
                raise CallError(
                    f"{self.name} does not compute in float64, which is needed to tell a broken symmetry from "
                    "rounding: something in its forward is float32 (a tensor without dtype=x.dtype, .float(), or a "
                    f"model other than the copy that is given to call): {text}"
                ) from error
            given = "a Batch" if self.form == "batch" else "rows and a mask" if self.form == "rows" else "a matrix"
            raise CallError(
                f"{self.name} fails when it is called with {given} of the events, {type(error).__name__}: {text}; "
                "feats=, inputs=, form= and call= say what it takes"
            ) from error

    def _checked(self, found: Any, events: Events) -> Tensor:
        if not isinstance(found, Tensor):
            raise TypeError(
                f"{self.name} must return a tensor, got {type(found).__name__}: pick one with "
                "call=lambda model, batch: model(batch)[0]"
            )
        rows = len(events.lengths) if self.output == "events" else len(events.particles.x)
        if found.dim() == 0 or found.size(0) != rows:
            lost = int(events.lengths[-1]) == 0 and self.output == "events"
            raise CallError(
                f"{self.name} must return a row per {self.output[:-1]}, got the shape {tuple(found.shape)} for "
                f"{len(events.lengths)} events with {len(events.particles.x)} particles"
                + (": the last event has no particles, tell the pooling the number of events" if lost else "")
                + f"; output={'particles' if self.output == 'events' else 'events'!r} expects a row for each of those"
            )
        if found.dtype in (torch.float32, torch.float16, torch.bfloat16):
            raise ValueError(
                f"{self.name} must compute in float64, got an output of {found.dtype}: something in its forward rounds "
                "(.float(), autocast), which would look like a broken symmetry"
            )
        if self.equivariant and (found.dim() < 2 or found.size(-1) != 4):
            raise ValueError(
                f"the output must be four-momenta (..., 4), px, py, pz and E, with equivariant=True, got the shape "
                f"{tuple(found.shape)}"
            )
        found = found.detach().double()
        return found.flatten(1) if found.dim() > 1 else found.unsqueeze(1)


def _copied(model: nn.Module | Model | Callable[..., Any]) -> Any:
    model = model.model if isinstance(model, Model) else model
    if not callable(model):
        raise TypeError(f"the model must be a module, a lumigraph.Model or a function, got {type(model).__name__}")
    if not isinstance(model, nn.Module):
        return model
    try:
        return copy.deepcopy(model).cpu().double().eval()
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"the model must be one that can be copied, got {type(model).__name__}: {error}") from error


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


@contextmanager
def double_precision() -> Iterator[None]:
    """Make new tensors float64, build no gradients, and leave these settings and random numbers as they were."""
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        torch.set_default_dtype(before)
