"""Replies that a model is given to read: what it says of their tokens, and what that costs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backends.completion_cache import CompletionCache
from harness.backends.self_test import Choice
from harness.backends.transformers import TransformersBackend
from harness.traces.cost import call_cost
from harness.traces.recording import record_call
from mixroute import Completion, EpisodeError, Prompt, Request
from tests.harness.backends.asking import ask, open_model, plain
from tests.harness.backends.contract import NEAR
from tests.harness.backends.sharing import Asked, close, opened, share, talk
from tests.tiny_model import save_tiny_model

ROOM = "You are in a room. You see desk 1 and a lamp.\n>"
WAYS = {
    "packed": (None, True),
    "packed, throughput": (None, False),
    "plain": ("session", True),
    "plain, decode": ("decode", True),
    "plain, none": ("none", False),
}


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose texts are split into the tokens that it wrote."""
    folder = tmp_path_factory.mktemp("weights") / "writer"
    save_tiny_model(folder, letters="abcdefgh")
    return folder


@pytest.fixture(scope="module", params=WAYS)
def backend(writer: Path, request: pytest.FixtureRequest) -> Iterator[TransformersBackend]:
    reuse, deterministic = WAYS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        if reuse is not None:
            choice = Choice("plain", reuse, isolated=True, least_rows=1, why="told", compared="")  # type: ignore[arg-type]
            patch.setattr("harness.backends.transformers.choose_way", lambda *_: choice)
        found = open_model(writer, deterministic)
    yield found
    found.close()


def session_of(backend: TransformersBackend, *requests: Request) -> list[Completion]:
    """Answers of calls of one session, one after the other."""

    async def run() -> list[Completion]:
        return [await backend.generate(request) for request in requests]

    try:
        return asyncio.run(run())
    finally:
        backend.release(requests[0].session)


def statistics(tokens: Sequence[object]) -> list[float]:
    return [getattr(token, name) for token in tokens for name in ("logprob", "entropy", "margin")]


@pytest.mark.parametrize("append_only", [True, False])
def test_a_reply_that_is_read_is_as_likely_as_when_it_was_written(
    backend: TransformersBackend, append_only: bool
) -> None:
    asked = plain(ROOM, max_tokens=40)
    asked = replace(asked, prompt=replace(asked.prompt, append_only=append_only))
    (wrote,) = ask(backend, asked)
    (read,) = ask(backend, replace(asked, continue_from=wrote.text, max_tokens=0))
    assert len(wrote.content) > 16
    assert [token.id for token in read.read] == [token.id for token in wrote.content]
    assert statistics(read.read) == pytest.approx(statistics(wrote.content), abs=NEAR)
    assert read.read_ends == wrote.token_ends
    assert (read.text, read.tokens, read.finish) == ("", (), "length")
    (state,) = ask(backend, replace(asked, continue_from=wrote.text[:-1], max_tokens=0))
    assert state.state != read.state


def test_what_another_wrote_is_judged_from_its_first_token_on(backend: TransformersBackend) -> None:
    """Whatever of it was read before, and beside which calls."""
    reply = " take the lamp from desk 1, é and go"
    asked = plain(ROOM, max_tokens=0, continue_from=reply)
    (alone,) = ask(backend, asked)
    assert len(alone.read) == len(reply.encode())
    letters = len(reply)
    place = reply.index("é")
    assert alone.read_ends == (
        *range(1, place + 1),
        place,
        *range(place + 1, letters + 1),
    )  # its first byte ends before it
    for before in (
        plain(ROOM, max_tokens=0),
        plain(ROOM),
        asked,
        replace(asked, continue_from=reply + "!"),
        replace(asked, max_tokens=3),
    ):
        *_, again = session_of(backend, before, asked)
        assert statistics(again.read) == pytest.approx(statistics(alone.read), abs=NEAR)
        assert again.cached_tokens == 0  # the prompt is one turn, at whose end the first token is judged
    others = [plain("abc" * count, session=f"other {count}") for count in range(1, 4)]
    *_, beside = ask(backend, *others, asked)
    assert statistics(beside.read) == pytest.approx(statistics(alone.read), abs=NEAR)


def test_in_deterministic_mode_it_is_so_to_the_last_bit(writer: Path, tmp_path: Path) -> None:
    model = open_model(writer)
    asked = plain(ROOM, max_tokens=0, continue_from=" take the lamp from desk 1")
    (alone,) = ask(model, asked)
    others = [plain("abc" * count, session=f"other {count}") for count in range(1, 4)]
    assert session_of(model, plain(ROOM), asked)[-1] == ask(model, *others, asked)[-1] == alone
    goes_on = plain(ROOM, continue_from=" take the lamp from")
    (plainly,) = ask(model, goes_on)
    assert session_of(model, asked, goes_on)[-1].tokens == plainly.tokens
    model.use_cache(CompletionCache(tmp_path / "a.sqlite"))
    for reused in (False, True):
        (kept,) = ask(model, asked)
        assert (kept, kept.state, kept.reused) == (alone, alone.state, reused)
        (state,) = ask(model, replace(asked, continue_from=""))
        assert (state.read, state.read_ends, state.reused) == ((), (), reused)
    model.close()


def test_reading_is_charged_as_one_pass_over_what_was_not_read(writer: Path) -> None:
    model = open_model(writer)
    card = model.card()
    reply, kept = "x" * 40, "x" * 35
    reads = plain(ROOM, max_tokens=0, continue_from=reply)
    read, rest, again = session_of(model, reads, plain(ROOM, continue_from=kept), plain(ROOM, continue_from=kept))
    begun = len(ROOM)
    assert (read.prompt_tokens, read.cached_tokens) == (begun + 40, 0)
    cost = call_cost(record_call(read, switch=False), card)
    assert cost["weight_bytes"] == card.weight_bytes
    assert cost["flops"] == 2 * card.parameters * (begun + 40)
    # It goes on in blocks of 16 tokens, of which the last one is read for the next token.
    assert (rest.prompt_tokens, rest.cached_tokens) == (begun + 35, begun + 32)
    assert (again.cached_tokens, again.tokens) == (rest.cached_tokens, rest.tokens)
    whole, free = session_of(model, reads, plain(ROOM, continue_from=reply))
    assert free.cached_tokens == free.prompt_tokens == whole.prompt_tokens  # no pass between reading and writing
    model.close()


def test_of_a_shared_cache_the_turn_before_the_reply_is_read_anew(folders: dict[str, Path]) -> None:
    models = share(opened(folders))
    first, second = (len("".join(told)) for told in (("You are in a room.\n>",), _TOLD))
    calls = [Asked("high", 0), Asked("low", 1), Asked("high", 1, reads=True, begun="x" * 20), Asked("low", 2)]
    assert [answer.cached_tokens for answer in talk(models, calls)] == [0, first, first, second]
    judged = talk(models, calls[:3])[-1]
    # High has read all of it, the first turn included, so that it judges as it does by itself.
    assert judged.read == talk(models, [calls[2]])[-1].read
    close(models)


_TOLD = ("You are in a room.\n>", " look\n", "You see desk 1.\n>")


def test_a_reply_without_a_prompt_or_a_token_is_refused(writer: Path) -> None:
    model = open_model(writer)
    with pytest.raises(EpisodeError, match="the reply cannot be read"):
        ask(model, Request("s", Prompt((), "plain"), continue_from="go", max_tokens=0))
    with pytest.raises(EpisodeError, match="leaves no room"):
        ask(model, plain(ROOM, max_tokens=0, continue_from="x" * 5000))
    with pytest.raises(EpisodeError, match="leaves no room for its prompt"):
        ask(model, plain(ROOM, max_tokens=0, continue_from="x" * 5000, truncate=True))
    model.close()
