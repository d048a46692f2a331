"""Keeping the pages of memory that is freed and requested again at every step, on Linux."""

import ctypes
import os
import sys

__all__ = ["keep_pages"]

#: Parameters of glibc's mallopt: the size from which memory is taken from the system and returned to it at once, and
#: the free memory at the end of the heap above which it is returned.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


def keep_pages() -> bool:
    """Let this process keep the memory that it frees, and return whether it does.

    The C library of Linux returns the pages of every large tensor to the system when the tensor is freed, and the
    system clears each page when it is used again: on a CPU this can take longer than the arithmetic. After this call
    they are kept for the next tensor. The price is that memory once used stays with the process.

    `Model.fit`, `lumigraph.training.fit`, `EventStream.loader` and the ``lumigraph`` command call this.
    ``LUMIGRAPH_KEEP_PAGES=0`` in the environment turns it off, and thresholds already set there
    (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES``) are left as they are. Without glibc
    nothing happens. Arrow, which reads Parquet, then uses the C library's memory as well, unless
    ``ARROW_DEFAULT_MEMORY_POOL`` is set.

    Notes
    -----
    It affects the whole process, and cannot be undone.

    Examples
    --------
    >>> kept = keep_pages()  # True on Linux
    """
    set_by_user = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(
        name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    )
    if os.environ.get("LUMIGRAPH_KEEP_PAGES") == "0" or set_by_user:
        return False
    try:
        libc = ctypes.CDLL(None)
        mallopt, _ = libc.mallopt, libc.gnu_get_libc_version
    except (AttributeError, OSError, TypeError):
        return False
    # older versions of glibc refuse more than 32 MB
    kept = any(mallopt(_MMAP_THRESHOLD, size) == 1 for size in (2**30, 2**25))
    if not kept or mallopt(_TRIM_THRESHOLD, 2**31 - 1) != 1:
        return False
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:  # arrow's own allocator also returns its pages
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
        if (arrow := sys.modules.get("pyarrow")) is not None:
            arrow.set_memory_pool(arrow.system_memory_pool())
    return True
