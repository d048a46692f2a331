"""A torch module as a LightningModule; imported only for training."""

import csv
import math
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch_geometric.data import Batch

from ..events.files import replacing
from .config import BatchLoss, TrainConfig
from .optimiser import build_optimiser

__all__ = ["EpochCheckpoint", "History", "StepCheckpoint", "TrainingModule", "check_checkpoint", "one_sentence"]


class TrainingModule(lightning.LightningModule):
    """What Lightning needs: losses of a step, optimiser and schedule."""

    def __init__(
        self,
        module: nn.Module,
        batch_loss: BatchLoss,
        config: TrainConfig,
        opt_args: Mapping[str, Any],
        mean_weight: float,
        train: Iterable[Batch],
        validated: bool = False,
    ) -> None:
        super().__init__()
        self.module = module
        self.batch_loss = batch_loss
        self.config = config
        self.opt_args = opt_args
        self.mean_weight = mean_weight
        self.train_batches = train
        self.validated = validated
        self._train_sums: list[Any] = [0.0, 0.0]  # sum of weighted losses, on their device, and number of events
        self._val_sums = [0.0, 0.0]

    def on_train_epoch_start(self) -> None:
        if not self.trainer.fit_loop.restarted_mid_epoch:
            self._train_sums = [0.0, 0.0]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # dropout in a step must not depend on earlier random numbers, or on the process
        place = (self.config.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        losses, weights = self._losses(batch)
        weighted = (weights * losses).sum()
        self._train_sums = [self._train_sums[0] + weighted.detach().double(), self._train_sums[1] + len(losses)]
        if self.trainer.is_last_batch:
            total, events = self._over_ranks(self._train_sums)
            self.log("train_loss", total / events / self.mean_weight, on_step=False, on_epoch=True, batch_size=1)
        # the mean of w * loss over all events: dividing by the sum of weights of the batch would be noisy in small
        # batches, and would divide by nearly zero with weights of both signs. Gradients are averaged over the ranks,
        # whose last batches may differ in size
        events = len(losses)
        if self.trainer.world_size > 1:
            events = self._over_ranks([events])[0] / self.trainer.world_size
        return weighted / (events * self.mean_weight)

    def on_validation_epoch_start(self) -> None:
        self._val_sums = [0.0, 0.0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        losses, weights = self._losses(batch)
        self._val_sums[0] += float((weights * losses).double().sum())
        self._val_sums[1] += float(weights.double().sum())

    def on_validation_epoch_end(self) -> None:
        total, weight = self._over_ranks(self._val_sums)
        if not weight > 0:
            raise ValueError(f"weights of the validation events must have a positive sum, got {weight:g}")
        self.log("val_loss", total / weight, prog_bar=True)

    def settings(self) -> dict[str, Any]:
        """Return the settings that must not change when a training is resumed."""
        own = {name: getattr(self.config, name) for name in ("n_epochs", "schedule", "seed")}
        own |= {name: self.opt_args.get(name) for name in ("lr", "weight_decay")}
        batches = len(self.train_batches) if isinstance(self.train_batches, Sized) else None
        return {**own, "batches per epoch": batches, "validation": self.validated}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["settings"] = self.settings()
        checkpoint["train_sums"] = self._over_ranks(self._train_sums)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._train_sums = [part / self.trainer.world_size for part in checkpoint.get("train_sums", [0.0, 0.0])]

    def _over_ranks(self, numbers: list[Any]) -> list[float]:
        """Return the sums of numbers over all ranks."""
        numbers = [float(number) for number in numbers]
        if self.trainer.world_size == 1:
            return numbers
        sums = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        return self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        losses = self.batch_loss(self.module, batch)
        if losses.dim() != 1:
            raise ValueError(f"the loss must give one number per event, got shape {tuple(losses.shape)}")
        weights = batch.weight if "weight" in batch else torch.ones_like(losses)
        return losses, weights.to(losses.dtype)

    def on_train_epoch_end(self) -> None:
        for name, what in (("train_loss", "training"), ("val_loss", "validation")):
            loss = float(self.trainer.callback_metrics.get(name, 0.0))
            if not math.isfinite(loss):
                raise ValueError(
                    f"the {what} loss is {loss} in epoch {self.current_epoch}: check the inputs for very large "
                    "numbers, or lower lr"
                )

    def configure_optimizers(self) -> Any:
        config = self.config
        optimiser = build_optimiser(self.module, self.opt_args)
        if config.schedule == "constant":
            return optimiser
        if not isinstance(self.train_batches, Sized):
            raise TypeError(
                f"the training batches must have a len() for the schedule {config.schedule!r}, got "
                f"{type(self.train_batches).__name__}: use schedule='constant'"
            )
        # asking Lightning for its estimate here would keep it from restoring the state of the loader
        steps = config.n_epochs * len(self.train_batches)
        schedule: torch.optim.lr_scheduler.LRScheduler
        if config.schedule == "one_cycle":
            groups = optimiser.param_groups
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimiser, max_lr=[group["lr"] for group in groups], total_steps=steps,
                # a momentum that the user has set is not cycled
                cycle_momentum=all(group.get("betas", (0.0,))[0] == 0.9 for group in groups),
            )  # fmt: skip
        else:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def check_checkpoint(path: Path, training: TrainingModule) -> None:
    """Raise a ValueError unless a training can continue from a checkpoint as if it had not been stopped."""
    other = "overwrite=True (--overwrite) starts again"
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # arbitrary bytes can raise any exception
        raise ValueError(f"{path} is not a checkpoint, or is damaged ({type(error).__name__}): {other}") from None
    before, now = found.get("settings", {}), training.settings()
    if now["schedule"] == "constant" and before.get("n_epochs", 0) <= now["n_epochs"]:
        before["n_epochs"] = now["n_epochs"]  # a constant schedule does not depend on it
    for name, value in now.items():
        if before.get(name) != value:
            raise ValueError(
                f"{path} is of a training with {name}={before.get(name)!r}, not {value!r}: resume it with its "
                f"settings; {other}"
            )
    shapes, known = ({n: tuple(v.shape) for n, v in s.items()} for s in (training.state_dict(), found["state_dict"]))
    if different := sorted({*shapes.items()} ^ {*known.items()}):
        name = different[0][0].removeprefix("module.")
        raise ValueError(f"{path} is of another model, in which {name!r} differs: resume it with its settings; {other}")


@contextmanager
def one_sentence(last: Path | None) -> Iterator[None]:
    """State in one sentence why a training by Lightning stopped; ``last`` is the path of its checkpoint."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except MisconfigurationException as error:
        raise ValueError(str(error)) from None
    except SystemExit as error:  # Lightning's has no message, and for SIGTERM the status of a success
        kept = last is not None and last.exists()
        way_on = "resume=True (--resume) continues from its last checkpoint" if kept else "nothing was kept"
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, on_interrupt)  # Lightning switches it off
            raise KeyboardInterrupt(f"the training was interrupted: {way_on}") from None
        raise SystemExit(f"the training was stopped by SIGTERM: {way_on}") from None
    except RuntimeError as error:
        if "closed by peer" not in str(error) and "reset by peer" not in str(error):
            raise
        raise ConnectionError("another process of the training has stopped: see its message for the reason") from None


class EpochCheckpoint(ModelCheckpoint):
    """The checkpoints after an epoch, also in a folder that was moved or copied to another machine."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return os.path.join(str(self.dirpath), os.path.basename(path)) if path else path

        moved: dict[str, Any] = {name: here(path) for name, path in state_dict.items() if name.endswith("_path")}
        moved["best_k_models"] = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "dirpath": self.dirpath})


class StepCheckpoint(ModelCheckpoint):
    """A checkpoint after a given number of steps, but not after the last step of an epoch.

    A training resumed there would skip the validation and the losses of that epoch, and the checkpoint of the epoch
    follows anyway.
    """

    def on_train_batch_end(self, trainer: lightning.Trainer, *step: Any, **named: Any) -> None:
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, *step, **named)


class History(Callback):
    """Losses and learning rate per epoch; kept in checkpoints and written to a CSV file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, float | int]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        row: dict[str, float | int] = {"epoch": trainer.current_epoch}
        metrics = trainer.callback_metrics
        row.update({name: float(metrics[name]) for name in ("train_loss", "val_loss") if name in metrics})
        row["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.rows = [*(r for r in self.rows if r["epoch"] < row["epoch"]), row]
        if not trainer.is_global_zero:
            return
        with replacing(self.file) as temporary, open(temporary, "w", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(row))
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
