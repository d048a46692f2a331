"""Settings of a training."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor
from torch_geometric.data import Batch

__all__ = ["BatchLoss", "Schedule", "TrainConfig"]

#: Loss of each event, (B,), from the module and a batch.
BatchLoss = Callable[[Any, Batch], Tensor]

Schedule = Literal["one_cycle", "cosine", "constant"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training.

    Parameters
    ----------
    n_epochs
        Passes over the training events.
    lr
        Learning rate, the maximum of a schedule; by default that of the optimiser's arguments (``opt_args``), or else
        0.001.
    weight_decay
        Decay of the weights; by default that of ``opt_args``, or else 0.01 with AdamW and none with an optimiser
        described by ``opt_args``.
    schedule
        ``one_cycle`` (up and down once over the training, the momentum of AdamW in the opposite direction unless set to
        a value other than 0.9), ``cosine`` (down to 0) or ``constant``.
    patience
        Stop when the validation loss has not improved for this many epochs; never by default.
    gradient_clip
        Largest norm of the gradient; not clipped if None.
    seed
        Seed of the order of events and of dropout.
    accelerator, devices, num_nodes, strategy, precision
        As in Lightning's Trainer: ``devices=4`` trains on four GPUs (or processes, with
        ``accelerator="cpu"``), each with its share of the events.
    checkpoint_every
        Save a checkpoint after this many steps, in addition to that of every epoch.
    progress_bar
        Whether to show a progress bar.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    n_epochs: int = 20
    lr: float | int | None = None
    weight_decay: float | int | None = None
    schedule: Schedule = "one_cycle"
    patience: int | None = None
    gradient_clip: float | int | None = 1.0
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    checkpoint_every: int | None = None
    progress_bar: bool = True

    def __post_init__(self) -> None:
        for name, least in (
            ("n_epochs", 1),
            ("patience", 1),
            ("seed", 0),
            ("weight_decay", 0),
            ("checkpoint_every", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be a positive number, got {self.lr}")
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"schedule must be one of {', '.join(get_args(Schedule))}, got {self.schedule!r}")
