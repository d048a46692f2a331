"""Read ROOT, Parquet, HDF5 and CSV files into the same `dict` of awkward arrays.

A column holds one entry per event: a number, or a list of numbers (*jagged*, one number per particle). The columns
``Jet_px`` and ``Jet_py`` belong to the collection ``Jet`` (everything before the last ``_``), whose lists have the
same lengths in an event. Formats without lists pad them: slots of an event without a particle are found per collection,
and dropped.
"""

import glob
import os
from collections.abc import Sequence

from ...events.errors import SchemaError
from .event_file import EventFile, format_of, split_path
from .tables import Columns

__all__ = ["EventFile", "column_names", "expand_paths", "format_of", "open_events", "read_columns"]


def column_names(path: str | os.PathLike[str]) -> list[str]:
    """List the columns that can be read from a file, from its metadata alone (CSV has none: it is read through).

    Parameters
    ----------
    path
        As in :func:`read_columns`.

    Returns
    -------
    list of str
        The numeric columns. A CSV file with numbered columns lists ``Jet0_px``, ``Jet1_px`` and also ``Jet_px``.

    Raises
    ------
    SchemaError
        If the file does not match its suffix, or is empty, truncated or corrupt.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.files.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     column_names(write_columns(f"{folder}/events.csv", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]}))
    ['ht', 'Jet0_px', 'Jet1_px', 'Jet_px']
    """
    with open_events(path) as file:
        return file.names


def read_columns(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Columns:
    """Read columns of a file, each an awkward array with one entry per event.

    Parameters
    ----------
    path
        ``.root``, ``.parquet``, ``.pq``, ``.h5``, ``.hdf5``, ``.csv`` or ``.csv.gz``; a tree of a ROOT file is
        given as ``file.root:Tree`` (default: the only one, or ``Events``).
    columns
        Names, in the order wanted. None: all numeric columns, each once, without the flat columns that make up
        jagged ones in CSV and the counters added by :func:`~lumigraph.data.files.writers.write_columns`.

    Returns
    -------
    dict of ak.Array
        Arrays of type ``n * number`` or ``n * var * number``, in the number type of the file; booleans as int8.

    Raises
    ------
    SchemaError
        If the file is empty, truncated, corrupt or does not match its suffix; if a column is missing, is not
        numeric, is nested twice or has nulls but a type without NaN; if columns differ in their number of events,
        or the lists of a collection in length.
    FileNotFoundError
        If there is no such file.

    Notes
    -----
    **Padded columns.** In HDF5 a dataset of shape (events, slots) is jagged. With a counter (``nJet`` for the
    collection ``Jet``) the first ``nJet`` slots are particles; without one, those where ``Jet_mask``, of the same shape
    and 0 or 1, is 1; without either, a slot is absent where every floating-point column of its collection is NaN.
    Zeros alone do not make a slot absent: an eta or a charge may be 0. In CSV the columns ``Jet0_px, Jet1_px, ...``,
    numbered from 0, make up ``Jet_px``, and a slot is absent where all cells of the object are empty or NaN. NaNs in
    some columns of a particle stay.

    **Datasets of three axes** (HDF5), ``D`` of shape (events, slots, features), are jagged columns ``D_pt, ...``, named
    by an attribute ``features``, ``feature_names``, ``columns`` or ``names`` of the dataset, by a dataset ``D_names``,
    ``D_features`` or ``feature_names``, or else ``D_0, D_1, ...``; if there is also a dataset ``D_pt``, the column
    is ``D/pt``. Particles are where ``D_mask`` or ``mask``, of shape (events, slots), is 1; without a mask a slot is
    absent where all features are 0 or all are NaN.

    **JetNet** (HDF5): ``particle_features`` gives ``Particle_etarel, Particle_phirel, Particle_ptrel`` of the
    particles in its mask; ``jet_features`` gives ``Jet_pt, Jet_eta, Jet_mass, Jet_num_particles`` (preceded
    by ``Jet_type`` if it has five).

    **Top tagging reference set** (any format; HDF5 as pandas writes it with ``format="table"``): the columns ``E_0,
    PX_0, PY_0, PZ_0, E_1, ...`` make up ``Constituent_E, Constituent_px, Constituent_py, Constituent_pz``; a slot is
    absent where all four are 0 or all four are NaN.

    **Fold files of LUMIN** (HDF5): the columns named by the metadata, the folds concatenated; a cell of
    ``matrix_inputs`` is the column ``{vec}_{feat}``, one number per event, NaN where the object is absent.

    **CSV** columns have the type that fits all their cells: integers if all are (int64, or uint64 if some are above
    2**63 - 1), booleans (int8) if all are, otherwise floating point with NaN for empty cells.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.files.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_columns(f"{folder}/events.root", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]})
    ...     read_columns(f"{path}:Events", ["Jet_px", "nJet"])
    {'Jet_px': <Array [[20, 30], []] type='2 * var * float64'>, 'nJet': <Array [2, 0] type='2 * int32'>}
    """
    if isinstance(columns, str):
        raise TypeError(f"columns must be a sequence of names, got the string {columns!r}: write [{columns!r}]")
    with open_events(path) as file:
        return file.read_all(columns)


def expand_paths(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """List the files named by paths and patterns, in the order given, sorted within a pattern.

    Parameters
    ----------
    paths
        One or several; ``*``, ``?``, ``[...]`` and ``**`` match as in a shell, also before ``:Tree``. The name of an
        existing file is not a pattern.

    Raises
    ------
    SchemaError
        If nothing is given, a pattern matches nothing, or a file is named twice, in whatever spelling.

    Examples
    --------
    >>> expand_paths("events.root:Tree")
    ['events.root:Tree']
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise SchemaError("no file is given: give one or more paths or patterns")
    found: dict[str, None] = {}
    trees: dict[str, set[str]] = {}  # of each file, in whatever spelling; "" is the default tree
    for path in [os.fspath(path) for path in given]:
        name, tree = split_path(path)
        matches = [name]
        if glob.has_magic(name) and not os.path.exists(name):
            matches = sorted(match for match in glob.glob(name, recursive=True) if not os.path.isdir(match))
            if not matches:
                raise SchemaError("no file matches: check the folder and the pattern", file=path)
        for match in matches:
            full = f"{match}:{tree}" if tree else match
            known = trees.setdefault(os.path.realpath(match), set())
            if tree in known or (known and "" in {tree, *known}):
                raise SchemaError("it is named twice, so its events would be too", file=full)
            known.add(tree)
            found[full] = None
    return list(found)


def open_events(path: str | os.PathLike[str]) -> EventFile:
    """Open a file of events, to read it in parts.

    Parameters
    ----------
    path
        As in :func:`read_columns`.

    Raises
    ------
    SchemaError, FileNotFoundError
        As in :func:`read_columns`.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.files.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_columns(f"{folder}/events.parquet", {"ht": [5.0, 6.0, 7.0], "Jet_px": [[2.0, 3.0], [], [4.0]]})
    ...     with open_events(path) as file:
    ...         print(file.num_events, file.names, file.groups)
    ...         print(file.read(["Jet_px"], 1, 3))
    3 ['ht', 'Jet_px'] [0 3]
    {'Jet_px': <Array [[], [4]] type='2 * var * float64'>}
    """
    return EventFile(path)
