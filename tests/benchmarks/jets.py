"""Jets to measure with: 5 to 80 particles of six features each, a label, and the number of the event as its weight."""

from pathlib import Path
from typing import Any

import numpy as np

from lumigraph import EventSchema
from lumigraph.data.files.writers import ColumnWriter

FEATURES = ("px", "py", "pz", "E", "charge", "d0")
FEWEST, MOST = 5, 80
SCHEMA = EventSchema(collections=("Part",), feats_per_vec=FEATURES, targets=("label",), weight="weight")
_AT_ONCE = 20_000  # events


def jets(first: int, last: int) -> dict[str, Any]:
    """Return columns of the events of these numbers."""
    import awkward as ak

    rng, num_events = np.random.default_rng(first), last - first
    lengths = rng.integers(FEWEST, MOST + 1, num_events)
    columns = {
        f"Part_{feat}": ak.unflatten(rng.standard_normal(int(lengths.sum()), np.float32), lengths) for feat in FEATURES
    }
    return columns | {"label": rng.integers(0, 2, num_events), "weight": np.arange(first, last, dtype=np.float32)}


def write_jets(folder: Path, suffix: str, num_events: int, num_files: int) -> list[str]:
    """Write files of so many events in all, and return their paths."""
    paths = []
    for number in range(num_files):
        first, last = (num_events * k // num_files for k in (number, number + 1))
        paths.append(str(folder / f"jets{number}.{suffix}"))
        with ColumnWriter(paths[-1]) as writer:
            for start in range(first, last, _AT_ONCE):
                writer.append(jets(start, min(start + _AT_ONCE, last)))
    return paths
