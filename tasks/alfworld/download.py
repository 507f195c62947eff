"""Download of the official games: one archive, resumed after a broken connection, with its content checked."""

from __future__ import annotations

import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mixroute import MixrouteError
from tasks.alfworld.data import find_games, fingerprint
from tasks.alfworld.official import OFFICIAL, SplitContent

URL = "https://github.com/alfworld/alfworld/releases/download/0.4.0/json_2.1.2_tw-pddl.zip"
"""The game files alone, 36.5 MB; the official downloader fetches the visual data besides."""

_LARGEST = 2 * 2**30
"""Bytes; what the archive may unpack to. The official set is a few hundred megabytes."""


def fetch(folder: Path, url: str = URL, expected: Mapping[str, SplitContent] = OFFICIAL) -> Path:
    """Download and unpack the official games, unless ``folder`` has them already.

    Args:
        folder: Where ``json_2.1.1`` is to lie; made if missing.
        url: Address of the archive.
        expected: What each split must hold.

    Returns:
        ``folder``, fit for the task's argument ``data``.

    Raises:
        MixrouteError: the download fails (run again: it goes on where it stopped), the archive is damaged, or its
            content is not what is expected.
    """
    import pooch

    if not _differences(folder, expected):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    name = PurePosixPath(url).name
    # The archive's own hash is not published; its content is checked instead, split by split.
    pooch.get_logger().setLevel("WARNING")
    archive = Path(pooch.retrieve(url, known_hash=None, fname=name, path=folder, downloader=ResumingDownloader(folder)))
    try:
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            _unpack(archive, Path(unpacked))
            differences = _differences(Path(unpacked), expected)
            if not differences:
                _merge(Path(unpacked), folder)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise MixrouteError(f"the archive from {url} is damaged ({error}) and was removed: run again") from error
    finally:
        archive.unlink()
    if differences:
        raise MixrouteError(f"{url} does not hold the official games: {'; '.join(differences)}")
    return folder


class ResumingDownloader:
    """A downloader for pooch that keeps what has come in and asks for the rest on the next try.

    Args:
        folder: Where the unfinished file is kept, as ``<name>.part``.
        tries: How often to go on after a broken connection before giving up.
    """

    def __init__(self, folder: Path, tries: int = 4) -> None:
        self._folder = folder
        self._tries = tries

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        """Download ``url`` into ``output_file``.

        Raises:
            MixrouteError: the server refuses, or the connection broke too often.
        """
        if not url.startswith(("https://", "http://127.0.0.1:")):  # the second is for tests
            raise MixrouteError(f"{url} is not an https address")
        part = self._folder / f"{PurePosixPath(url).name}.part"
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
            for tried in range(1, self._tries + 1):
                try:
                    self._continue(url, part, progress)
                    break
                except urllib.error.HTTPError as error:
                    raise MixrouteError(f"{url} answers {error.code} {error.reason}") from error
                except (OSError, http.client.HTTPException) as error:
                    if tried == self._tries:
                        got = part.stat().st_size if part.exists() else 0
                        raise MixrouteError(
                            f"the download of {url} broke after {got} bytes ({error}): run again to go on from there"
                        ) from error
        shutil.move(part, output_file)

    def _continue(self, url: str, part: Path, progress: Progress) -> None:
        have = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
        try:
            response = urllib.request.urlopen(request, timeout=30)  # noqa: S310 - the scheme is checked above
        except urllib.error.HTTPError as error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
                return  # all of it had come in already
            if error.code == 416:
                part.unlink()
                raise ConnectionError("the unfinished file does not fit the one on offer") from error
            raise
        with response:
            resumed = response.status == 206
            length = int(response.headers.get("Content-Length") or 0)
            before = have if resumed else 0
            bar = progress.add_task(part.stem, total=before + length or None, completed=before)
            with part.open("ab" if resumed else "wb") as stream:
                received = _copy(response, stream, progress, bar)
            if length and received < length:
                raise ConnectionError(f"{length - received} bytes did not come")


def _copy(response: http.client.HTTPResponse, stream: BinaryIO, progress: Progress, bar: TaskID) -> int:
    received = 0
    while chunk := response.read(1 << 16):
        stream.write(chunk)
        received += len(chunk)
        progress.advance(bar, len(chunk))
    return received


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the game files, and nothing that would land outside ``folder``."""
    with zipfile.ZipFile(archive) as opened:
        members = [member for member in opened.infolist() if member.filename.endswith("/game.tw-pddl")]
        if sum(member.file_size for member in members) > _LARGEST:
            raise MixrouteError(f"{archive.name} unpacks to more than {_LARGEST} bytes: it is not the official archive")
        for member in members:
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                raise MixrouteError(f"{archive.name} holds '{member.filename}', which would land outside the folder")
            path = folder.joinpath(*name.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)


def _differences(folder: Path, expected: Mapping[str, SplitContent]) -> list[str]:
    """Differences between the games in ``folder`` and what is expected; empty if there are none."""
    differences = []
    for split, content in expected.items():
        try:
            games = find_games(folder, split)
            found = fingerprint(games)
        except MixrouteError as error:
            differences.append(str(error))
            continue
        if len(games) != content.games:
            differences.append(f"{split} has {len(games)} games instead of {content.games}")
        elif found != content.fingerprint:
            differences.append(f"{split} has content {found[:12]}… instead of {content.fingerprint[:12]}…")
    return differences


def _merge(source: Path, target: Path) -> None:
    """Move every file into place; what else lies in ``target`` stays."""
    for path in sorted(source.rglob("game.tw-pddl")):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
