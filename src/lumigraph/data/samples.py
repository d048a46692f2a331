"""The events shipped with the package: ttH(bb) against tt + jets; see docs/datasheet.md for how they were made."""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from ..events.schema import EventSchema
from .loading.dataset import EventDataset

__all__ = ["SAMPLE_SCHEMA", "load_sample", "sample_path"]

#: The columns of the shipped events that classify ttH against tt + jets.
SAMPLE_SCHEMA = EventSchema(
    collections=("MET", "Electron", "Muon", "Jet"),
    feats_per_vec=(
        "px", "py", "pz", "E", "log_pt", "eta", "log_E", "charge", "btag", "is_MET", "is_Electron", "is_Muon", "is_Jet",
    ),
    event_feats=("ht", "met"),
    cat_feats=("n_jets", "lepton_flavour"),
    targets=("label",),
    weight="weight",
    ids=("event",),
    max_particles=16,
)  # fmt: skip


def sample_path(kind: Literal["parquet", "root"] = "parquet") -> Path:
    """Return the path of the shipped events: all of them as Parquet, a few thousand as ROOT.

    Examples
    --------
    >>> sample_path("root").name
    'tth.root'
    """
    if kind not in ("parquet", "root"):
        raise ValueError(f"kind must be 'parquet' or 'root', got {kind!r}")
    return Path(str(files("lumigraph.data") / "sample" / f"tth.{kind}"))


def load_sample(schema: EventSchema = SAMPLE_SCHEMA) -> EventDataset:
    """Read the shipped events.

    Examples
    --------
    >>> train, val, test = load_sample().split((0.6, 0.2, 0.2), seed=0)
    >>> train.schema.targets
    ('label',)
    """
    return EventDataset.from_file(sample_path(), schema)
