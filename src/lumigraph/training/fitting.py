"""Train any torch module on batches of events, with Lightning.

The order of events and all random numbers of an epoch depend only on the seed and the number of the epoch. A
training that is killed and resumed from its last checkpoint therefore ends with the same weights as an uninterrupted
one.
"""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Batch

from ..data.loading.memory import keep_pages
from .config import BatchLoss, TrainConfig
from .optimiser import optimiser_of_training

__all__ = ["fit"]


def fit(
    module: nn.Module,
    batch_loss: BatchLoss,
    train: Iterable[Batch],
    val: Iterable[Batch] | None = None,
    *,
    config: TrainConfig | None = None,
    mean_weight: float = 1.0,
    opt_args: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    logger: Any = False,
    callbacks: Sequence[Any] = (),
) -> dict[str, list[float | int]]:
    """Train a module and set its best weights: those of the lowest validation loss, or the last without validation.

    Parameters
    ----------
    module
        Any torch module.
    batch_loss
        Function of the module and a Batch that returns the loss of each event, (B,). Events are weighted by
        ``batch.weight`` if present.
    train, val
        Loaders of Batches, such as `lumigraph.data.EventDataset.loader`.
    config
        Settings of the training; by default those of `TrainConfig`.
    mean_weight
        Mean weight of the training events, by which the loss is divided.
    opt_args
        Optimiser and its arguments, see `lumigraph.training.optimiser.build_optimiser`; AdamW by default.
    folder
        Folder for checkpoints (``checkpoints/last.ckpt`` after every epoch and ``best.ckpt``) and the log
        (``history.csv``); by default nothing is kept.
    resume
        Whether to continue from the last checkpoint in ``folder``, if there is one, with the same settings.
    overwrite
        Whether to replace a training in ``folder``, unless it is resumed.
    logger
        One or several Lightning loggers, in addition to ``history.csv``.
    callbacks
        Further Lightning callbacks.

    Returns
    -------
    dict
        For each quantity a list with one entry per epoch: epoch, train_loss, val_loss, learning_rate.

    Raises
    ------
    FileExistsError
        If ``folder`` holds the checkpoint of a training and neither ``resume`` nor ``overwrite`` is set; it is left as
        it is.
    ValueError
        If nothing is trainable, the checkpoint is of another training, Lightning rejects a setting, or a loss becomes
        infinite or NaN.
    KeyboardInterrupt, SystemExit
        If the training is stopped by Ctrl-C or SIGTERM.
    """
    from .lightning_module import History, TrainingModule, check_checkpoint, one_sentence  # importing Lightning is slow

    config = TrainConfig() if config is None else config
    settings = optimiser_of_training(opt_args, config)
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError("the module has no trainable parameter: all are frozen")
    if not mean_weight > 0:
        raise ValueError(f"the mean weight of the training events must be positive, got {mean_weight}")
    keep_pages()
    with tempfile.TemporaryDirectory() as scratch, torch.random.fork_rng(devices=[]), _quiet():
        place = Path(scratch if folder is None else folder)
        last = place / "checkpoints" / "last.ckpt"
        if last.exists() and not (resume or overwrite):
            raise FileExistsError(
                f"{place} already holds a training ({last.name}): set resume=True (--resume) to continue it, "
                "overwrite=True (--overwrite) to replace it, or give another folder"
            )
        place.mkdir(parents=True, exist_ok=True)
        history = History(place / "history.csv")
        module.train()  # Lightning does not change the mode of a module
        training = TrainingModule(module, batch_loss, config, settings, mean_weight, train, val is not None)
        with one_sentence(None if folder is None else last):
            trainer = _trainer(config, place, [history, *callbacks], logger, validated=val is not None)
            resume = resume and last.exists()
            if resume:
                check_checkpoint(last, training)
            elif overwrite and trainer.is_global_zero:  # only after all other checks have passed
                shutil.rmtree(last.parent, ignore_errors=True)
            trainer.fit(training, train, val, ckpt_path=last if resume else None, weights_only=True)
        best = trainer.checkpoint_callbacks[-1].best_model_path  # every rank has the path on the first rank
        if val is not None and best:
            state = torch.load(best, weights_only=True, map_location="cpu")["state_dict"]
            module.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
        trainer.strategy.barrier()  # all ranks must read it before the first one removes it
        module.eval()
    names = list(history.rows[0]) if history.rows else []
    return {name: [row[name] for row in history.rows] for name in names}


def _trainer(config: TrainConfig, folder: Path, callbacks: list[Any], logger: Any, *, validated: bool) -> Any:
    """Return Lightning's trainer, with checkpoints in ``folder``."""
    import lightning
    from lightning.pytorch.callbacks import EarlyStopping, TQDMProgressBar

    from .lightning_module import EpochCheckpoint, StepCheckpoint

    if config.patience is not None and validated:
        callbacks.append(EarlyStopping("val_loss", patience=config.patience, check_on_train_epoch_end=True))
    if config.progress_bar:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    checkpoint = EpochCheckpoint(
        dirpath=folder / "checkpoints", filename="best", monitor="val_loss" if validated else None, save_last=True,
        enable_version_counter=False, save_on_train_epoch_end=True,
    )  # fmt: skip
    if config.checkpoint_every is not None:
        callbacks.append(
            StepCheckpoint(
                dirpath=folder / "checkpoints", filename="last", every_n_train_steps=config.checkpoint_every,
                enable_version_counter=False, save_on_train_epoch_end=False,
            )
        )  # fmt: skip
    return lightning.Trainer(
        max_epochs=config.n_epochs,
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=config.strategy,
        precision=config.precision,  # type: ignore[arg-type]
        gradient_clip_val=config.gradient_clip,
        logger=logger,
        callbacks=[*callbacks, checkpoint],  # the checkpoint last, so that it includes the history of its epoch
        enable_progress_bar=config.progress_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        use_distributed_sampler=False,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Lightning's banner and its hints that do not apply to events in memory."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings(
                "ignore", message=".*number of training batches.*smaller than the logging interval.*"
            )
            warnings.filterwarnings("ignore", message=".*have no .val_dataloader.*")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # Lightning on torch 2.13
            # logged losses are already summed over ranks
            warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
            yield
    finally:
        log.setLevel(level)
