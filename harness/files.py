"""Files: the cache folder, writing whole files, and content hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from glob import escape
from pathlib import Path
from typing import IO

import msgspec
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from harness.errors import MixrouteError
from harness.text import one_line


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a file of JSON lines."""


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""What ``flock`` raises on file systems without locks."""
MOST_SMALL = 1 << 24
"""Most bytes of a file that is read whole and not compressed, such as ``run.json``; published ones have 5 to 20 kB."""


def cache_folder(*parts: str) -> Path:
    """A folder below ``$MIXROUTE_CACHE``, or the platform's cache folder; it may not exist yet."""
    root = os.environ.get("MIXROUTE_CACHE")
    return (Path(root) if root else user_cache_path("mixroute")).joinpath(*parts)


def made_once(kind: str, identity: str, make: Callable[[Path], None]) -> Path:
    """The cached folder ``kind/identity``; ``make`` writes it the first time, and processes wait for one another.

    ``make`` gets the path to write to; the folder around it is its own, for whatever it needs on the way.
    """
    folder = cache_folder(kind, identity)
    if folder.exists():  # it appears whole
        remove_leftovers(folder.parent)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(Path(f"{folder}.lock")):
        if not folder.exists():
            with scratch_folder(folder.parent) as scratch:
                made = scratch / "made"
                make(made)
                made.replace(folder)
    return folder


_SCRATCH = ".scratch-"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder in ``parent``, which exists, that is deleted when the block ends, or by the next one if it is killed."""
    remove_leftovers(parent)
    while True:
        folder = parent / f"{_SCRATCH}{secrets.token_hex(6)}"
        guard = folder.with_suffix(".lock")
        lock = FileLock(guard)
        with lock:
            if not guard.exists():  # taken for a leftover before it was locked
                continue
            try:
                folder.mkdir()
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                guard.unlink(missing_ok=True)
            return


def remove_leftovers(parent: Path) -> None:
    """Remove the scratch folders in ``parent`` whose processes were killed: nobody holds their locks."""
    for guard in parent.glob(f"{_SCRATCH}*.lock"):
        with suppress(Timeout, OSError), FileLock(guard).acquire(timeout=0):
            shutil.rmtree(guard.with_suffix(""), ignore_errors=True)
            guard.unlink(missing_ok=True)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep a folder, made if need be, for this process until the block ends.

    Raises:
        MixrouteError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", 0, f"{folder} is in use by another mixroute process: wait, or use another --out"):
        yield


@contextmanager
def locked(path: Path, timeout: float = -1, in_use: str = "") -> Iterator[None]:
    """Hold the lock file ``path`` until the block ends.

    Args:
        path: The lock file.
        timeout: Seconds to wait for it; without end if negative.
        in_use: What to say where another process has it.

    Raises:
        MixrouteError: another process has it, or the file system has no locks.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise MixrouteError(in_use or f"{path} is in use by another process: wait") from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise MixrouteError(
            f"{path} cannot be locked ({one_line(error)}): its file system has no locks; use a folder on a local disk: "
            "--out for runs, MIXROUTE_CACHE for the cache"
        ) from error
    try:
        yield
    finally:
        lock.release()


def content_hash(value: object) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``: sorted keys, no spaces."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_file_name(name: str) -> bool:
    """Whether a plug-in is named as ``path/to/file.py:Name``."""
    return name.rpartition(":")[0].endswith(".py")


def name_without_folder(name: str) -> str:
    """``file.py:Name`` for ``path/to/file.py:Name``; any other name as it is."""
    return Path(name).name if is_file_name(name) else name


def path_hash(path: Path) -> str:
    """SHA-256 (hex) of the content of a file, or of the names and contents of the files in a folder.

    Raises:
        OSError: one cannot be read.
    """
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return content_hash({file.relative_to(path).as_posix(): path_hash(file) for file in files})


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` so that a reader sees the old file or the new one, never half.

    Raises:
        OSError: it cannot be written; the error names ``path``.
    """
    with replacing(path) as handle:
        handle.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that replaces ``path`` when the block ends: a reader sees the old file or the new one, never half.

    If the block raises, the old file stays.

    Raises:
        OSError: it cannot be written; the error names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_parts(path)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as handle:
            with suppress(OSError):  # a file system without locks
                flock(handle, LOCK_SH)
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(part)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _remove_parts(path: Path) -> None:
    """Remove what killed processes have left of a file: nobody holds its lock, and its process is gone."""
    for part in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(OSError, ValueError):
            if not _is_alive(int(part.name.split(".")[-2].partition("-")[0])):
                with part.open("rb") as handle:
                    flock(handle, LOCK_EX | LOCK_NB)
                    part.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def refuse_devices(path: Path) -> None:
    """Refuse what exists and is no regular file, such as a pipe or a link to a device: reading it may never end.

    Raises:
        MixrouteError: it is none.
    """
    if path.exists() and not path.is_file():
        raise MixrouteError(f"{path} is no regular file: restore it")


def read_small(path: Path) -> bytes:
    """The content of a small file.

    Raises:
        MixrouteError: it is no regular file, or has more than ``MOST_SMALL`` bytes.
        OSError: it cannot be read.
    """
    refuse_devices(path)
    if path.stat().st_size > MOST_SMALL:
        raise MixrouteError(f"{path} has more than {MOST_SMALL} bytes: no entry has such a file; leave it out")
    return path.read_bytes()
