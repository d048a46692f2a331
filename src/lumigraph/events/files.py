"""Files that are written: whether they can be, and how they are put in place in one step."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_place", "replacing"]


def check_place(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Check that a file can be written, cheaply and without touching anything.

    Examples
    --------
    >>> check_place("report.html").name
    'report.html'
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give the name of a file in it")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or replace it with overwrite=True (--overwrite)")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {folder} is a file, not a directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: no permission to write into {folder}")
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write to beside a file, and put that in place of the file in one step, unless writing fails.

    Whoever looks sees the whole file, or what was there before. Missing folders are made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "page.html") as temporary:
    ...         characters = temporary.write_text("<p>")
    ...     print(os.listdir(folder))
    ['page.html']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex}{path.suffix}"
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
