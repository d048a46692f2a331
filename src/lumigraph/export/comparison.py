"""Comparison of a model and its file on the same events."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from ..data import Events
from ..model.builder import ModelBuilder
from ..model.evaluation import merits
from .formats import Run, first_line
from .interface import Interface
from .random_events import RandomEvents

__all__ = ["Comparison", "compare"]

#: Events per step: the memory for padded pairs grows with the square of the slots.
_EVENTS = 32
#: Largest deviation of a file from the model, in units of the deviation of the model from itself in float64.
_ROUNDING = 4.0
#: Largest mean deviation of a quantised model, as a fraction of the spread of the model's outputs.
_SANE = 0.25


@dataclass(frozen=True)
class Comparison:
    """Outputs of a model and its file for the same events.

    Parameters
    ----------
    model, file
        Outputs (events, outputs) of each.
    exact
        Outputs of the model in float64.
    objective
        Kind of prediction.
    merits
        Figures of merit by name, of model and file, on the given events.
    """

    model: Tensor
    file: Tensor
    exact: Tensor
    objective: str
    merits: dict[str, tuple[Any, Any]]

    @property
    def scale(self) -> Tensor:
        """Unit of the difference of each output: 1, or the largest value of a regression."""
        ones = torch.ones(self.model.size(1), dtype=torch.float64)
        if self.objective != "regression":
            return ones
        largest = self.model.double().abs().amax(0)
        return torch.where(largest > 0, largest, ones)

    @property
    def difference(self) -> Tensor:
        """Difference of each output of each event, (events, outputs); infinite where the file gives NaN."""
        return ((self.file.double() - self.model.double()).abs() / self.scale).nan_to_num(torch.inf, torch.inf)

    @property
    def deviation(self) -> float:
        """Largest difference."""
        return float(self.difference.max())

    def check(self, tolerance: float) -> None:
        """Raise a ValueError with figures if any output differs by more than both tolerance and rounding."""
        rounding = (self.exact - self.model.double()).abs() / self.scale
        beyond = int((self.difference > (_ROUNDING * rounding).clamp(min=tolerance)).any(1).sum())
        if not beyond:
            return
        worst = int(self.difference.amax(1).argmax())
        raise ValueError(
            f"the exported model does not agree with the model, and nothing was written: outputs differ by up to "
            f"{self.deviation:.2g}, more than tolerance={tolerance:g}, in {beyond} of {len(self.model)} events; in one "
            f"the file gives {self.file[worst].tolist()}, the model {self.model[worst].tolist()}, and in float64 "
            f"{self.exact[worst].tolist()}. A larger tolerance allows it"
        )

    def check_sane(self) -> None:
        """Raise a ValueError if the outputs of a quantised model are far from those of the model."""
        spread = self.model.double().std(0) / self.scale
        off = self.difference.mean(0)
        if bool((off <= _SANE * spread + 1e-3).all()):
            return
        raise ValueError(
            "the quantised model does not agree with the model, and nothing was written: outputs differ by "
            f"{off.tolist()} on average, but those of the model spread by {spread.tolist()}: export without quantize"
        )


def compare(
    module: nn.Sequential, description: ModelBuilder, interface: Interface, run: Run, events: Events | None
) -> Comparison:
    """Evaluate a model and its file on random events and on the given ones.

    Raises
    ------
    ValueError
        If the model itself gives NaN or infinity, or the file cannot be run.
    """
    original = copy.deepcopy(module).cpu().eval()
    precise = copy.deepcopy(original).double()
    expected: list[Tensor] = []
    exact: list[Tensor] = []
    found: list[Tensor] = []
    targets: list[Tensor] = []
    weights: list[Tensor] = []
    for batch, num_slots, where in _batches(RandomEvents(module[0], description.scales, interface), events):
        with torch.no_grad(), where:
            out = original(batch)
            for outputs, each in ((expected, out), (exact, precise(batch))):
                outputs.append(each.exp() if interface.objective == "multiclass" else each)
        targets += [batch.y] if "y" in batch else []
        weights += [batch.weight] if "weight" in batch else []
        inputs = interface.of_batch(batch, num_slots)
        try:
            found.append(run(inputs))
        except Exception as error:
            sizes = {name: tuple(value.shape) for name, value in inputs.items()}
            raise ValueError(f"the exported model fails on inputs of the sizes {sizes}: {first_line(error)}") from error
        if found[-1].shape != out.shape:
            raise ValueError(
                f"the exported model must give the shape {tuple(out.shape)} of the model, got {tuple(found[-1].shape)}"
            )
    ours, theirs = torch.cat(expected), torch.cat(found)
    if not bool(ours.isfinite().all()):
        raise ValueError(
            "the model itself gives NaN or infinite outputs on random events: train it, or check its weights"
        )
    before_and_after: dict[str, tuple[Any, Any]] = {}
    if events is not None and targets:  # the given events came last
        y, w = torch.cat(targets).numpy(), torch.cat(weights).numpy() if weights else None
        before, after = (
            merits(y, out[-len(y) :].numpy(), w, interface.objective, events.schema.targets) for out in (ours, theirs)
        )
        before_and_after = {name: (value, after[name]) for name, value in before.items()}
    return Comparison(ours, theirs, torch.cat(exact), interface.objective, before_and_after)


def _batches(
    random: RandomEvents, events: Events | None
) -> Iterator[tuple[Batch, int | None, AbstractContextManager[None]]]:
    """Yield events, their number of slots, and a context that adds an event's number to errors about it."""
    for batch, num_slots in random.batches():
        yield batch, num_slots, nullcontext()
    if events is not None:
        for part in events.chunks(_EVENTS):
            yield part.batch(), None, events.locating(part)
