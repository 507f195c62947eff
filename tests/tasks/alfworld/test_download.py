"""Fetching the official games, played with a small archive on a server of this machine."""

import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.errors import MixrouteError
from tasks.alfworld.data import find_games, fingerprint
from tasks.alfworld.download import fetch
from tasks.alfworld.official import SplitContent
from tests.tasks.alfworld.games import write_unpacked


class Server(ThreadingHTTPServer):
    """Serves one archive at any path; ``breaks_after`` cuts each answer off after that many bytes."""

    def __init__(self, archive: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive = archive
        self.breaks_after = 0
        self.ignores_ranges = False
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/games.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = "" if server.ignores_ranges else self.headers.get("Range", "")
        server.asked.append(self.headers.get("Range", ""))
        start = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
        if start and start >= len(server.archive):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.archive)}")
            self.end_headers()
            return
        content = server.archive[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: server.breaks_after or len(content)])

    def log_message(self, *_: object) -> None:
        """Silence."""


def zipped(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def games(tmp_path: Path) -> Path:
    return write_unpacked(tmp_path / "source")


@pytest.fixture
def expected(games: Path) -> dict[str, SplitContent]:
    return {"valid_seen": SplitContent(2, fingerprint(find_games(games, "valid_seen")))}


@pytest.fixture
def server(games: Path) -> Iterator[Server]:
    files = {path.relative_to(games).as_posix(): path.read_bytes() for path in games.rglob("game.tw-pddl")}
    with Server(zipped({**files, "README": "not a game"})) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_games_are_fetched_once(server: Server, expected: dict[str, SplitContent], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "json_2.1.1").mkdir(parents=True)
    (folder / "json_2.1.1" / "mine").write_text("kept")
    assert fetch(folder, server.url, expected) == folder
    assert len(find_games(folder, "valid_seen")) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["json_2.1.1"]
    assert (folder / "json_2.1.1" / "mine").exists()
    fetch(folder, server.url, expected)
    assert server.asked == [""]


def test_a_broken_download_goes_on_where_it_stopped(
    server: Server, expected: dict[str, SplitContent], tmp_path: Path
) -> None:
    server.breaks_after = len(server.archive) // 6
    with pytest.raises(MixrouteError, match=r"broke after \d+ bytes .*: run again to go on from there"):
        fetch(tmp_path / "data", server.url, expected)
    assert len(server.asked) == 4
    server.breaks_after = 0
    fetch(tmp_path / "data", server.url, expected)
    assert server.asked[-1] == f"bytes={4 * (len(server.archive) // 6)}-"
    assert len(find_games(tmp_path / "data", "valid_seen")) == 2


@pytest.mark.parametrize("unfinished", ["all", "too long"])
def test_an_unfinished_file_that_is_full_or_wrong(
    server: Server, expected: dict[str, SplitContent], tmp_path: Path, unfinished: str
) -> None:
    (tmp_path / "games.zip.part").write_bytes(server.archive + (b"" if unfinished == "all" else b"x"))
    fetch(tmp_path, server.url, expected)
    assert len(find_games(tmp_path, "valid_seen")) == 2


def test_a_server_without_ranges_is_asked_for_all(
    server: Server, expected: dict[str, SplitContent], tmp_path: Path
) -> None:
    server.ignores_ranges = True
    (tmp_path / "games.zip.part").write_bytes(b"rubbish")
    fetch(tmp_path, server.url, expected)
    assert len(find_games(tmp_path, "valid_seen")) == 2


def test_wrong_content_is_refused_and_removed(
    server: Server, expected: dict[str, SplitContent], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    wrong = {"valid_seen": SplitContent(2, "0" * 64)}
    with pytest.raises(
        MixrouteError, match=r"does not hold the official games: valid_seen has content \w+… instead of 000"
    ):
        fetch(folder, server.url, wrong)
    with pytest.raises(MixrouteError, match="valid_seen has 2 games instead of 3"):
        fetch(folder, server.url, {"valid_seen": SplitContent(3, "")})
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"no archive", r"damaged \(.*\) and was removed"),
        (zipped({"../json_2.1.1/game.tw-pddl": "{}"}), "would land outside the folder"),
        (zipped({"/json_2.1.1/game.tw-pddl": "{}"}), "would land outside the folder"),
        (zipped({"..\\up/game.tw-pddl": "{}"}), "would land outside the folder"),
        (zipped({}), "does not hold the official games"),
    ],
)
def test_bad_archives(
    server: Server, expected: dict[str, SplitContent], tmp_path: Path, archive: bytes, message: str
) -> None:
    server.archive = archive
    with pytest.raises(MixrouteError, match=message):
        fetch(tmp_path / "data", server.url, expected)
    assert list((tmp_path / "data").iterdir()) == []


def test_only_https(tmp_path: Path, expected: dict[str, SplitContent]) -> None:
    with pytest.raises(MixrouteError, match="not an https address"):
        fetch(tmp_path / "data", "http://example.org/games.zip", expected)


def test_a_refusing_server_is_named(tmp_path: Path, expected: dict[str, SplitContent]) -> None:
    with pytest.raises(MixrouteError, match="broke after 0 bytes"):
        fetch(tmp_path / "data", "http://127.0.0.1:9/games.zip", expected)
