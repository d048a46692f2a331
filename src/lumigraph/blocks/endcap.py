"""Endcaps, which compute further quantities from the predictions of a trained model."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..events.particles import as_tensor
from .block import evaluating

__all__ = ["AbsEndcap"]


class AbsEndcap(nn.Module, ABC):
    """Compute a further quantity from the outputs of a trained model; subclasses define it in `func`.

    For a model trained on a proxy of the quantity: for example a mass from regressed momenta.

    Parameters
    ----------
    model
        A trained `lumigraph.Model`, or any module. The endcap has its parameters.

    Raises
    ------
    TypeError
        If ``model`` can neither predict nor be called.

    Examples
    --------
    >>> class Mass(AbsEndcap):
    ...     def func(self, x):
    ...         return x[:, :3].square().sum(1, keepdim=True).sqrt()
    >>> Mass(nn.Linear(2, 4)).predict(np.zeros((5, 2), dtype=np.float32)).shape
    (5, 1)
    """

    def __init__(self, model: object) -> None:
        super().__init__()
        module = model if isinstance(model, nn.Module) else getattr(model, "model", None)
        if not isinstance(module, nn.Module):
            raise TypeError(f"model must be a Model or a torch module, got {type(model).__name__}")
        self.module = module
        # in a list, as a module must not be registered twice; a lumigraph.Model is not a module
        self._predictor = [model]

    @property
    def model(self) -> Any:
        """The wrapped model."""
        return self._predictor[0]

    @abstractmethod
    def func(self, x: Tensor) -> Tensor:
        """Return the quantity from outputs of the model (B, n_out); for a multiclass model they are probabilities."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `func` of outputs of the model."""
        return self.func(x)

    def predict(self, inputs: Any, as_np: bool = True) -> np.ndarray | Tensor:
        """Return `func` of the model's predictions, without gradients and in evaluation mode.

        Parameters
        ----------
        inputs
            Any input of the model; for a plain module a tensor, an array or a DataFrame.
        as_np
            Whether to return a NumPy array instead of a tensor.
        """
        with evaluating(self):
            if hasattr(self.model, "predict"):
                out = self.model.predict(inputs, as_np=False)
            else:
                out = self.module(self._tensor(inputs))
                tail = self.module[-1] if isinstance(self.module, nn.Sequential) else self.module
                out = out.exp() if getattr(tail, "objective", None) == "multiclass" else out
            out = self.func(out)
        if not isinstance(out, Tensor):
            raise TypeError(f"func must return a tensor, got {type(out).__name__}")
        return out.detach().cpu().numpy() if as_np else out

    def _tensor(self, inputs: Any) -> Any:
        if hasattr(inputs, "to_numpy"):  # a DataFrame
            inputs = inputs.to_numpy()
        weight = next(self.module.parameters(), torch.empty(0))
        if isinstance(inputs, np.ndarray):
            return as_tensor("inputs", inputs.copy()).to(weight.device, weight.dtype)
        return inputs.to(weight.dtype) if isinstance(inputs, Tensor) and inputs.is_floating_point() else inputs
