"""Significance of a signal over a background: of two numbers, of all cuts on a score, and of the best one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

__all__ = ["ams", "ams_uncertainty"]


def ams(
    signal: ArrayLike, background: ArrayLike, *, systematic: float = 0.0, regularisation: float = 0.0
) -> Float[np.ndarray, "..."]:
    r"""Compute the approximate median significance (AMS) of so many expected signal and background events.

    .. math:: Z = \sqrt{2 \left( (s + b) \ln\left(1 + \frac sb\right) - s \right)}

    With a systematic uncertainty :math:`\sigma = \delta\,b` of the background:

    .. math:: Z = \sqrt{2 \left( (s + b) \ln\frac{(s + b)(b + \sigma^2)}{b^2 + (s + b)\,\sigma^2}
              - \frac{b^2}{\sigma^2} \ln\left(1 + \frac{\sigma^2 s}{b\,(b + \sigma^2)}\right) \right)}

    Parameters
    ----------
    signal, background
        Expected numbers of events :math:`s` and :math:`b`; arrays of shapes that go together.
    systematic
        Relative systematic uncertainty :math:`\delta` of the background: 0.1 is 10 %.
    regularisation
        Added to the background before anything else: 10 in the HiggsML challenge.

    Returns
    -------
    array
        Number of standard deviations. It is negative where the signal is, and NaN where there is no background
        (:math:`b \le 0`) or less than no event (:math:`s + b < 0`), as negative weights may have it.

    Raises
    ------
    ValueError
        If ``systematic`` or ``regularisation`` is negative.

    Notes
    -----
    **Limits.** :math:`s / \sqrt{b + \sigma^2}` for a small signal, which is exact in any precision.

    References
    ----------
    Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727, Eq. (97); Adam-Bourdarios et al., PMLR 42 (2015) 19, for the
    regularisation; Li and Ma, ApJ 272 (1983) 317, Eq. (17), which is the second equation for a background that is
    measured beside the signal with the precision :math:`\sigma`.

    Examples
    --------
    >>> ams(10.0, 100.0).round(4), ams(10.0, 100.0, systematic=0.1).round(4)
    (np.float64(0.9841), np.float64(0.6893))
    """
    for name, value in (("systematic", systematic), ("regularisation", regularisation)):
        if not value >= 0:
            raise ValueError(f"{name} is {value}, expected at least 0.")
    s, b = np.asarray(signal, dtype=np.float64), np.asarray(background, dtype=np.float64) + regularisation
    with np.errstate(divide="ignore", invalid="ignore"):
        # in x = s / b and y = sigma^2 / b, with the terms of first order in x, which cancel, taken out
        x, y = np.where((b > 0) & (s + b >= 0), s / b, np.nan), np.maximum(b, 0.0) * systematic**2
        z = 1.0 + y + x * y
        half = _second_order(x / z) * z / (1.0 + y) + x**2 * y / ((1.0 + y) * z)
        half -= np.where(y > 0, _second_order(x * y / (1.0 + y)) * (1.0 + y) / (y * z), 0.0)
        return np.sign(x) * np.sqrt(np.maximum(2.0 * b * half, 0.0))
