"""What is computed from the predictions of a trained model."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..events.particles import as_tensor
from .block import evaluating

__all__ = ["AbsEndcap"]


class AbsEndcap(nn.Module, ABC):
    """Compute something further from the outputs of a trained model; inherit from it and say what in `func`.

    For a model that was trained on a proxy of what is wanted: a mass, say, from regressed momenta.

    Parameters
    ----------
    model
        A trained `lumigraph.Model`, or any module. Its parameters are those of the endcap.

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

    def __init__(self, model: Any) -> None:
        super().__init__()
        module = model if isinstance(model, nn.Module) else getattr(model, "model", None)
        if not isinstance(module, nn.Module):
            raise TypeError(f"model must be a Model or a torch module, got {type(model).__name__}")
        self.module = module
        # a lumigraph.Model is no module itself, and a module must not be registered twice
        self._predictor = [model]

    @property
    def model(self) -> Any:
        """The model that is wrapped."""
        return self._predictor[0]

    @abstractmethod
    def func(self, x: Tensor) -> Tensor:
        """Return what is wanted, from outputs of the model (B, n_out): of a multiclass model the probabilities."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `func` of outputs of the model."""
        return self.func(x)

    def predict(self, inputs: Any, as_np: bool = True) -> np.ndarray | Tensor:
        """Return `func` of what the model predicts, without gradients and in evaluation mode.

        Parameters
        ----------
        inputs
            Whatever the model predicts from; for a plain module a tensor, an array or a DataFrame.
        as_np
            Whether to return a NumPy array, not a tensor.
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
