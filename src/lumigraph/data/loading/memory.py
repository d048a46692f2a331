"""Memory that is freed and asked for again at every step: how to keep its pages on Linux."""

import ctypes
import os
import sys

__all__ = ["keep_pages"]

#: What glibc's mallopt calls the size from which memory comes from the system and goes back to it at once, and the
#: free memory at the end of the heap from which it goes back.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


def keep_pages() -> bool:
    """Let this process keep the memory that it frees, and tell whether it does.

    The C library of Linux gives the pages of every large tensor back to the system when the tensor is freed, and the
    system clears each page anew when it is next touched: on a CPU this can take longer than the arithmetic. From this
    call on they are kept for the next tensor. The price is that memory that was used once stays with the process.

    `Model.fit`, `lumigraph.training.fit`, `EventStream.loader` and the ``lumigraph`` command call this.
    ``LUMIGRAPH_KEEP_PAGES=0`` in the environment turns it off, and thresholds that are set there already
    (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES``) are left as they are. Nothing happens
    without glibc. Arrow, which reads Parquet, then uses the C library's memory as well, unless
    ``ARROW_DEFAULT_MEMORY_POOL`` says whose.

    Notes
    -----
    It concerns the whole process, and is not undone.

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
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:  # arrow's own allocator gives its pages back, too
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
        if (arrow := sys.modules.get("pyarrow")) is not None:
            arrow.set_memory_pool(arrow.system_memory_pool())
    return True
