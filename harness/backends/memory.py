"""The allocator's settings for long computations on the CPU, and errors that say that memory ran out."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Have the C library keep freed memory. By default it returns every large tensor to the kernel, which clears and
    maps the pages for the next tensor: half of the time of a training step where we measured it.

    Does nothing where the C library is not glibc.
    """
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20})


@contextmanager
def freed_memory_returned() -> Iterator[None]:
    """Have the C library return freed memory at once until the block ends, and keep it from then on.

    For loading: each weight is laid out anew and its old layout freed, which would come to the weights twice.
    """
    _set({_MMAP_MAX: 1 << 16, _MMAP_THRESHOLD: 1 << 20, _TRIM_THRESHOLD: 1 << 17, _TOP_PAD: 0})
    try:
        yield
    finally:
        return_freed_memory()
        keep_freed_memory()


def return_freed_memory() -> None:
    """Have the C library return the freed memory that it keeps, for models that are loaded after one that is closed.

    Does nothing where the C library is not glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _set(parameters: Mapping[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in parameters.items():
            mallopt(name, value)


def out_of_memory(error: Exception) -> bool:
    """Whether an error, of Python, PyTorch or a driver, says that memory ran out."""
    message = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in message for words in ("out of memory", "can't allocate memory", "not enough memory")
    )
