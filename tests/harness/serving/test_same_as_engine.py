"""Games that an agent outside plays through the endpoint, and that the engine plays: equal actions, equal ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import AsyncOpenAI, OpenAI

from harness.engine.answering import Play
from harness.engine.opening import open_models
from harness.engine.rollout import play_all
from harness.records import Episode, StepRecord
from harness.suite import parse_router
from mixroute import Backend, Instance, Prompt, Task, Turn, load_pool, open_router, open_task
from tests.harness.playing import Seen
from tests.harness.serving.serving import recorded, served

GAMES = 2
Ask = Callable[[OpenAI, str, Prompt, Task, dict[str, str]], str]


def by_text(client: OpenAI, model: str, prompt: Prompt, task: Task, headers: dict[str, str]) -> str:
    assert prompt.format == "plain"
    text = "".join(message.content for message in prompt.messages)
    reply = client.completions.create(
        model=model, prompt=text, stop=list(task.stop), max_tokens=task.max_tokens, extra_headers=headers
    )
    return reply.choices[0].text


def by_chat(client: OpenAI, model: str, prompt: Prompt, task: Task, headers: dict[str, str]) -> str:
    assert prompt.format == "chat"
    messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
    reply = client.chat.completions.create(
        model=model,
        messages=messages,  # type: ignore[arg-type] # plain dictionaries
        stop=list(task.stop),
        max_completion_tokens=task.max_tokens,
        extra_headers=headers,
    )
    return reply.choices[0].message.content or ""


def play_outside(
    ask: Ask, client: OpenAI, model: str, task: Task, instance: Instance, headers: dict[str, str]
) -> tuple[list[str], float]:
    """The actions and the score of a game that is played by a loop which knows nothing of mixroute's engine."""
    environment = task.open(instance)
    seen, turns, score, done = environment.reset(), list[Turn](), 0.0, False
    while not done and len(turns) < task.step_cap:
        text = ask(client, model, task.prompt(turns, seen), task, headers)
        turns.append(Turn(seen, text, task.parse_action(text)))
        seen, reward, done = environment.step(turns[-1].action)
        score += reward
    return [turn.action for turn in turns], score


def play_inside(
    router: str, task: Task, models: Mapping[str, Backend], games: Sequence[Instance]
) -> dict[str, Episode]:
    entry, seen = parse_router(router), Seen()
    play = Play("run", 0, 0.0, task, open_router(entry.router, **entry.args), models, 60.0)
    asyncio.run(play_all(play, games, 2, seen))
    return seen.episodes


def ledger(episode: Episode) -> list[tuple[object, ...]]:
    def of_step(step: StepRecord) -> tuple[object, ...]:
        return step.calls, step.text, step.model, step.scores, step.parts, step.kept, step.delimiter

    return [of_step(step) for step in episode.steps]


Loaded = dict[str, tuple[Path, Mapping[str, Backend]]]


@pytest.fixture(scope="module")
def pools(tiny_pool: Path, tiny_weights: Path) -> Iterator[Loaded]:
    """Two pools, loaded: high and low with a cache each, and two names of one model, which share one."""
    spec = {"weights": str(tiny_weights)}
    path = tiny_weights.parent / "shared.yaml"
    models, sharing = {"high": spec, "low": spec}, {"shared": ["high", "low"]}
    path.write_text(yaml.safe_dump({"schema": 1, "name": "shared", "models": models, "kv_cache": sharing}))
    files = {"apart": tiny_pool, "shared": path}
    with ExitStack() as stack:
        yield {
            name: (file, stack.enter_context(open_models(load_pool(str(file)), "deterministic", None)))
            for name, file in files.items()
        }


@pytest.mark.parametrize(
    ("router", "scaffold", "pool"),
    [
        ("every-k,k=2", "compact", "apart"),
        ("every-k,k=2", "chat", "shared"),
        ("random,p=0.5", "chat", "apart"),
        ("uncertainty,threshold=1.5", "compact", "shared"),
        ("uncertainty,threshold=1.5", "chat", "apart"),
        ("token-random,p=0.5", "compact", "apart"),
        ("token-random,p=0.5", "chat", "shared"),
    ],
)
def test_the_same_game_costs_the_same(router: str, scaffold: str, pool: str, pools: Loaded, tmp_path: Path) -> None:
    pool_file, models = pools[pool]
    task = open_task("alfworld-gen", split="test", prompt=scaffold, step_cap=4)
    games, name = task.instances()[:GAMES], router.partition(",")[0]
    ask = by_chat if scaffold == "chat" else by_text
    inside = play_inside(router, task, models, games)
    with served(pool_file, router, tmp_path, models) as server:
        outside = {}
        for game in games:
            # An episode of this name has the same random draws.
            actions, score = play_outside(ask, server.client(), name, task, game, {"x-session-id": game.id})
            outside[game.id] = actions
            assert server.judge(game.id, score).json() == {"session": game.id, "recorded": True}
    meta, episodes = recorded(tmp_path)[name, "judged"]
    assert meta.instances == [game.id for game in games]
    for game in games:
        mine, theirs = inside[game.id], episodes[game.id]
        assert outside[game.id] == [step.action for step in mine.steps]
        assert ledger(theirs) == ledger(mine)
        assert (theirs.score, theirs.success, theirs.error) == (mine.score, mine.success, None)


@pytest.mark.parametrize("scaffold", ["compact", "chat"])
def test_without_a_header_the_conversation_is_the_session(scaffold: str, pools: Loaded, tmp_path: Path) -> None:
    """Two agents play at the same time, step by step in turns, and each game is an episode of its own."""
    router, task = "every-k,k=3", open_task("alfworld-gen", split="test", prompt=scaffold, step_cap=4)
    games = task.instances()[:2]
    ask = by_chat if scaffold == "chat" else by_text
    pool_file, models = pools["apart"]
    inside = play_inside(router, task, models, games)
    with served(pool_file, router, tmp_path, models) as server:
        client = server.client()
        environments = [task.open(game) for game in games]
        seen = [environment.reset() for environment in environments]
        turns: list[list[Turn]] = [[] for _ in games]
        for _ in range(task.step_cap):
            for place, environment in enumerate(environments):
                text = ask(client, "every-k", task.prompt(turns[place], seen[place]), task, {})
                turns[place].append(Turn(seen[place], text, task.parse_action(text)))
                seen[place], _, _ = environment.step(turns[place][-1].action)
    _, episodes = recorded(tmp_path)["every-k", "unjudged"]
    found = [ledger(one) for one in episodes.values()]
    assert len(found) == len(games)
    assert all(ledger(inside[game.id]) in found for game in games)


def test_streams_of_many_clients_are_the_whole_answers_of_one(pools: Loaded, tmp_path: Path) -> None:
    """Real models, whose passes many conversations share: what runs beside an answer does not change it."""
    questions = [f"What is {number}?" for number in range(6)]
    asked: Any = {"model": "every-k", "max_tokens": 6}
    pool_file, models = pools["apart"]

    async def talk(client: AsyncOpenAI, question: str) -> list[str]:
        messages: Any = [{"role": "user", "content": question}]
        replies = []
        for _ in range(2):
            text = ""
            stream: Any = await client.chat.completions.create(**asked, messages=messages, stream=True)
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
            replies.append(text)
            messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "Why?"}]
        return replies

    async def talk_at_once(client: AsyncOpenAI) -> list[list[str]]:
        async with client:
            return await asyncio.gather(*(talk(client, question) for question in questions))

    with served(pool_file, "every-k,k=2", tmp_path, models) as server:
        streamed = asyncio.run(talk_at_once(server.async_client()))
        client = server.client()
        for question, replies in zip(questions, streamed, strict=True):
            messages: Any = [{"role": "user", "content": question}]
            for text in replies:
                whole = client.chat.completions.create(**asked, messages=messages)
                assert whole.choices[0].message.content == text
                messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "Why?"}]
    assert len({text for replies in streamed for text in replies}) > 3
    _, episodes = recorded(tmp_path)["every-k", "unjudged"]
    assert [len(one.steps) for one in episodes.values()] == [2] * 2 * len(questions)
