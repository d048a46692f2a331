"""Scaling of a model's input features, with constants measured in advance."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..events.errors import near

__all__ = ["LOG_FLOOR", "TRANSFORMS", "Scaling", "Standardise", "Transform"]

#: ``log``: the natural logarithm, for positive numbers; ``symlog``: sign(x) log(1 + |x|), for either sign.
Transform: TypeAlias = Literal["log", "symlog"]
#: Names of all transforms.
TRANSFORMS: tuple[str, ...] = get_args(Transform)
#: Lower limit of numbers before a logarithm, unless another one is given.
LOG_FLOOR = 1e-3

_LOG, _SYMLOG = 1, 2  # codes in the buffer of transforms, 0 for none


class Scaling(NamedTuple):
    """The constants with which `Standardise` scales F features.

    Parameters
    ----------
    mean, std
        Shift and scale of each feature, applied after everything below except ``limit``.
    low, high
        Limits of each unscaled feature, infinite for none; no limits at all if not given.
    transforms
        Name of the transform of each feature, None for none.
    limit
        Largest size of a scaled feature.

    Examples
    --------
    >>> scaling = Scaling(torch.zeros(2), torch.ones(2), transforms=("log", None))
    >>> scaling.select([1]).transforms
    (None,)
    """

    mean: Tensor
    std: Tensor
    low: Tensor | None = None
    high: Tensor | None = None
    transforms: Sequence[str | None] | None = None
    limit: float | int | None = None

    def select(self, columns: Sequence[int]) -> "Scaling":
        """Return the scaling of some of the features, in the given order."""
        low, high = (None if value is None else torch.as_tensor(value)[list(columns)] for value in self[2:4])
        names = None if self.transforms is None else tuple(self.transforms[i] for i in columns)
        return Scaling(self.mean[list(columns)], self.std[list(columns)], low, high, names, self.limit)

    def altered(self) -> list[int]:
        """Return the numbers of the features that are limited or transformed before scaling."""
        names = self.transforms or [None] * len(self.mean)
        low, high = ([False] * len(names) if v is None else torch.as_tensor(v).isfinite().tolist() for v in self[2:4])
        return [i for i, name in enumerate(names) if name is not None or low[i] or high[i]]


class Standardise(nn.Module):
    r"""Limit, transform, shift and scale features with constants measured on training events.

    .. math:: x' = \frac{T(\min(\max(x, low), high)) - mean}{std}, \quad |x'| \le limit

    Shift and scale always apply, the other steps only if `set` asked for them. The constants are buffers: they are
    saved with the model and applied in the same way wherever it runs, and a loaded state_dict decides which steps
    apply. They start as mean 0 and standard deviation 1, which changes nothing.

    Parameters
    ----------
    num_features
        Number of features.

    Notes
    -----
    **Shape.** (..., F) to (..., F).

    Gradients are finite everywhere: 0 beyond a limit, 1 for ``symlog`` at 0. NaN stays NaN.

    Examples
    --------
    >>> scale = Standardise(2)
    >>> scale.set(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 0.0]))
    >>> scale(torch.tensor([[3.0, 6.0]]))
    tensor([[1., 1.]])

    The logarithm of a transverse momentum in GeV, and a pseudorapidity limited to the detector:

    >>> scale.set(torch.tensor([3.0, 0.0]), torch.tensor([0.5, 2.0]), low=torch.tensor([-torch.inf, -2.5]),
    ...           high=torch.tensor([torch.inf, 2.5]), transforms=("log", None), limit=5.0)
    >>> scale(torch.tensor([[20.0, 9.0], [1e9, -1.0]]))
    tensor([[-0.0085,  1.2500],
            [ 5.0000, -0.5000]])
    """

    mean: Tensor
    std: Tensor
    low: Tensor | None
    high: Tensor | None
    transform: Tensor | None
    limit: Tensor | None
    _plain = True  # shift and scale only; one check of this is faster than one of each buffer

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))
        for name in ("low", "high", "transform", "limit"):
            self.register_buffer(name, None)  # part of the state only if needed

    def set(
        self,
        mean: Tensor,
        std: Tensor,
        low: Tensor | None = None,
        high: Tensor | None = None,
        transforms: Sequence[str | None] | None = None,
        limit: float | int | None = None,
    ) -> None:
        """Set the constants; a feature that never varies is shifted, not scaled.

        Parameters
        ----------
        mean, std, low, high, transforms, limit
            As in `Scaling`. A logarithm without a positive lower limit gets one of 0.001 (`LOG_FLOOR`).

        Raises
        ------
        ValueError
            If there is not one finite number per feature (limits may be infinite), a transform is unknown, or a lower
            limit is above the upper one.
        """
        mean, std = self._numbers("mean", mean, finite=True), self._numbers("std", std, finite=True)
        codes = self._codes(transforms)
        low, high = self._limits(low, high, codes)
        if limit is not None and not 0 < limit < torch.inf:
            raise ValueError(f"limit must be a positive number, got {limit}")
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std <= 0, 1.0, std))
        self.low, self.high = low, high
        self.transform = codes if bool(codes.any()) else None
        self.limit = None if limit is None else self.mean.new_tensor(limit)
        self._plain = self.low is None and self.transform is None and self.limit is None

    def _numbers(self, name: str, value: Any, finite: bool = False) -> Tensor:
        given = torch.as_tensor(value)
        known = given.isfinite() if finite else ~given.isnan()
        if given.shape != self.mean.shape or not bool(known.all()):
            numbers = "finite numbers" if finite else "numbers"
            raise ValueError(f"{name} must hold {self.mean.numel()} {numbers}, one per feature, got {given.tolist()}")
        return given.detach().to(self.mean, copy=True)

    def _codes(self, transforms: Sequence[str | None] | None) -> Tensor:
        names = [None] * self.mean.numel() if transforms is None else list(transforms)
        if len(names) != self.mean.numel():
            raise ValueError(f"transforms must hold {self.mean.numel()} names, one per feature, got {names}")
        for name in names:
            if name is not None and name not in TRANSFORMS:
                raise ValueError(f"transforms must be log, symlog or None, got {name!r}: {near(name, TRANSFORMS)}")
        return torch.tensor([0 if n is None else TRANSFORMS.index(n) + 1 for n in names], device=self.mean.device)

    def _limits(self, low: Any, high: Any, codes: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logs = codes == _LOG
        if low is None and high is None and not bool(logs.any()):
            return None, None
        low = self._numbers("low", torch.full_like(self.mean, -torch.inf) if low is None else low)
        high = self._numbers("high", torch.full_like(self.mean, torch.inf) if high is None else high)
        low = torch.where(logs & (low <= 0), LOG_FLOOR, low)
        if bool((low > high).any()):
            raise ValueError(f"low must not be above high, got {low.tolist()} and {high.tolist()}")
        return low, high

    def forward(self, x: Float[Tensor, "*rows features"]) -> Float[Tensor, "*rows features"]:
        """Return the scaled features."""
        if self._plain:
            return (x - self.mean) / self.std
        if self.low is not None:
            x = torch.clamp(x, self.low, self.high)
        if self.transform is not None:
            x = _transformed(x, self.transform)
        x = (x - self.mean) / self.std
        return x if self.limit is None else torch.clamp(x, -self.limit, self.limit)

    def undo(self, scaled: Float[Tensor, "*rows features"]) -> Float[Tensor, "*rows features"]:
        """Return unscaled features, within the limits of the input."""
        x = scaled * self.std + self.mean
        if self.transform is not None:
            symlog = x.sign() * x.abs().expm1()
            x = torch.where(self.transform == _LOG, x.exp(), torch.where(self.transform == _SYMLOG, symlog, x))
        return x if self.low is None else torch.clamp(x, self.low, self.high)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        if prefix + "mean" in state_dict:  # otherwise the state_dict does not hold this layer
            for name in ("low", "high", "transform", "limit"):
                value, dtype = state_dict.get(prefix + name), torch.long if name == "transform" else self.mean.dtype
                # an empty buffer or none; torch then fills it like any other
                setattr(
                    self, name, None if value is None else torch.empty_like(value, dtype=dtype, device=self.mean.device)
                )
            self._plain = self.low is None and self.transform is None and self.limit is None
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """Show the number of features, and the steps besides shift and scale."""
        steps = [name for name in ("low", "transform", "limit") if getattr(self, name) is not None]
        words = {"low": "limits", "transform": "transforms", "limit": "limit"}
        return ", ".join([str(self.mean.numel()), *(words[name] for name in steps)])


def _transformed(x: Tensor, codes: Tensor) -> Tensor:
    """Return the transformed features; values that have another transform, or none, reach no logarithm or gradient."""
    log = torch.where(codes == _LOG, x, 1.0).log()
    size = torch.where(codes == _SYMLOG, x, 0.0)
    # only one of the two has a gradient at 0, so the sum has the right one
    symlog = size.clamp(min=0).log1p() - torch.relu(-size).log1p()
    return torch.where(codes == 0, x, log + symlog)
