"""The layout of the top-tagging reference set, in any format: E_0, PX_0, PY_0, PZ_0, E_1, ..."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..columns.jagged import Jagged
from .tables import Catalogue, Column, Columns

__all__ = ["Constituents", "joined", "with_constituents"]

_AXES = {"E": "E", "PX": "px", "PY": "py", "PZ": "pz"}


class Constituents(NamedTuple):
    """The flat columns of the four-momenta of an event, and the component that a column holds."""

    cells: tuple[tuple[str, ...], ...]  # per component, slot by slot
    component: int


def with_constituents(catalogue: Catalogue) -> Catalogue:
    """Add the jagged columns ``Constituent_E, Constituent_px, ...`` to a catalogue that has ``E_0, PX_0, ...``.

    Examples
    --------
    >>> flat = {f"{axis}_{slot}": Column(None, "float", True) for slot in range(2) for axis in ("E", "PX", "PY", "PZ")}
    >>> list(with_constituents(flat))[-4:]
    ['Constituent_E', 'Constituent_px', 'Constituent_py', 'Constituent_pz']
    """
    num_slots = 0
    while all(f"{axis}_{num_slots}" in catalogue and catalogue[f"{axis}_{num_slots}"].numeric for axis in _AXES):
        num_slots += 1
    names = [f"Constituent_{feature}" for feature in _AXES.values()]
    if not num_slots or not catalogue.keys().isdisjoint(names):
        return catalogue
    cells = tuple(tuple(f"{axis}_{slot}" for slot in range(num_slots)) for axis in _AXES)
    flat = {cell for component in cells for cell in component}
    implied = {name: column._replace(implied=True) if name in flat else column for name, column in catalogue.items()}
    made = {name: Column(Constituents(cells, i), "numbered columns", True) for i, name in enumerate(names)}
    return implied | made


def joined(names: list[str], catalogue: Catalogue, read: Mapping[str, Any]) -> Columns:
    """Return columns by name, with the constituents made from the flat columns."""
    matrices: list[np.ndarray] = []
    present = np.zeros(0)
    columns: Columns = {}
    for name in names:
        source = catalogue[name].source
        if not isinstance(source, Constituents):
            columns[name] = read[name]
            continue
        if not matrices:
            matrices = [np.stack([np.asarray(read[cell]) for cell in cells], axis=1) for cells in source.cells]
            zero, missing = (np.all([test(matrix) for matrix in matrices], axis=0) for test in (_is_zero, _is_nan))
            present = ~(zero | missing)
        columns[name] = Jagged.from_matrix(matrices[source.component], present).to_awkward()
    return columns


def _is_zero(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(matrix == 0)


def _is_nan(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(matrix != matrix)
