"""Training data: the small model's right answers with call tags inserted, and prompts that the large model solves."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from harness.backends.encoding import Encoder
from harness.contracts import Task
from harness.data import Observation, Prompt
from harness.engine.opening import OpenTask
from harness.errors import MixrouteError
from harness.records import CallRecord, Episode
from harness.seeding import seed_for
from harness.suite import RouterEntry
from harness.traces.contamination import instance_key
from harness.training.agent import TrainingSet
from harness.training.examples import IGNORED, Example
from harness.training.play import play_runs
from routers.relay.call_tag import OPEN, call_tag
from routers.relay.recipe import RelayRecipe, WarmUpRecipe


def warm_up_set(
    recipe: RelayRecipe, tasks: Sequence[OpenTask], tokenizer: PreTrainedTokenizerBase, folder: Path
) -> TrainingSet:
    """Sample the small model's answers, as far as they are not in ``folder``, and insert call tags into the right ones.

    With a teacher, its answers are sampled instead, right or wrong: they show where to ask the large model.

    Raises:
        MixrouteError: there is nothing to learn from.
    """
    examples, seen = [], []
    teacher = recipe.warm_up.teacher
    drawn_by = teacher or _always(recipe.small)
    played = _played(recipe, tasks, drawn_by, recipe.warm_up.samples, recipe.warm_up.temperature, folder)
    encoder = Encoder(tokenizer)
    for opened, episodes in zip(tasks, played, strict=True):
        for episode in episodes:
            step = episode.steps[0]
            if not (teacher or episode.success) or not step.text or OPEN in step.text:
                continue
            parts = step.made_of
            if teacher:
                pieces = list(_tagged_parts(parts, recipe.large))
            else:
                rng = random.Random(seed_for(recipe.seed, episode.instance, episode.seed, "commands"))  # noqa: S311
                pieces = [(_tagged_answer(step.text, parts[0], tokenizer, recipe.warm_up, rng), True)]
            if parts[-1].model != recipe.large:
                pieces.append((_ending(opened.task, parts[-1], tokenizer), True))
            prompt = opened.task.prompt((), Observation(step.observation, tuple(step.admissible)))
            example = _example(prompt, pieces, encoder)
            if len(example.ids) <= recipe.longest:
                examples.append(example)
                seen.append(instance_key(opened.task.name, episode.instance))
    if not examples:
        raise MixrouteError(
            f"recipe '{recipe.name}': no answer of '{drawn_by.name}' is right and of {recipe.longest} tokens or less: "
            "take easier tasks, more samples, a larger 'longest', or train it on the task first (mixroute train agent)"
        )
    return TrainingSet(examples, seen)


def _tagged_answer(
    text: str, call: CallRecord, tokenizer: PreTrainedTokenizerBase, options: WarmUpRecipe, rng: random.Random
) -> str:
    """The answer with call tags, placed as the recipe says."""
    if options.unsure is None:
        return with_tags(text, options, rng)
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in read["offset_mapping"]]
    # If the sampled tokens differ from the encoding of the text, their entropies cannot be assigned to words.
    known = call.entropies[: call.content_tokens] if len(ends) == call.content_tokens else ()
    return with_tags_where_unsure(text, ends, known, options)


def _ending(task: Task, call: CallRecord, tokenizer: PreTrainedTokenizerBase) -> str:
    """Text that ends the answer: the task's stop string or the model's; empty for an answer that was cut off."""
    if call.finish == "length":
        return ""
    return task.stop[0] if task.stop else str(tokenizer.eos_token or "")


def _tagged_parts(parts: Sequence[CallRecord], large: str) -> Iterator[tuple[str, bool]]:
    """Pieces of an answer, with a tag before each part by the large model, and whether each piece is learned."""
    for part in parts:
        if part.model == large:
            yield call_tag(part.decoded_tokens), True
        yield part.text, part.model != large


def _example(prompt: Prompt, pieces: Sequence[tuple[str, bool]], encoder: Encoder) -> Example:
    """The answer as an example in which the pieces marked true are learned."""
    text = "".join(piece for piece, _ in pieces)
    ids = encoder.encode(prompt, text).ids
    labels = [IGNORED] * len(ids)
    read, end = "", len(encoder.encode(prompt).ids)
    for piece, learned in pieces:
        read += piece
        start, end = end, len(encoder.encode(prompt, read).ids)
        if learned:
            labels[start:end] = ids[start:end]
    return Example(tuple(ids), tuple(labels))


_WORD_BORDERS = re.compile(r"^|(?<=\S)(?=\s)")
"""The beginning and the ends of words: before whitespace the tokens of both models have a border."""


def with_tags(text: str, options: WarmUpRecipe, rng: random.Random) -> str:
    """Insert call tags at random word borders."""
    places = [found.start() for found in _WORD_BORDERS.finditer(text)]
    chosen = rng.sample(places, min(len(places), rng.randint(0, options.commands)))
    return _insert_tags(text, {place: rng.randint(1, options.tokens) for place in sorted(chosen, reverse=True)})


def with_tags_where_unsure(text: str, ends: Sequence[int], entropies: Sequence[float], options: WarmUpRecipe) -> str:
    """Insert a call tag before each word that the model was not sure of. It asks for one token more than the word has,
    which shows where the word ends, and for no more than the recipe allows.

    Args:
        text: Text that the model wrote.
        ends: [tokens], end of each token in the text, in characters.
        entropies: [tokens], entropies of the distributions that they were sampled from, in nats; none if unknown.
        options: Options of the recipe, with ``unsure``.
    """
    unsure: dict[int, tuple[float, int]] = {}
    places = [found.start() for found in _WORD_BORDERS.finditer(text)]
    for place, border in pairwise([*places, len(text)]):
        word = [entropy for end, entropy in zip(ends, entropies, strict=False) if place < end <= border]
        if word and max(word) > (options.unsure or 0.0):
            unsure[place] = max(word), min(len(word) + 1, options.tokens)
    chosen = sorted(unsure, key=lambda place: -unsure[place][0])[: options.commands]
    return _insert_tags(text, {place: unsure[place][1] for place in chosen})


def _insert_tags(text: str, numbers: Mapping[int, int]) -> str:
    """Insert call tags for these numbers of tokens at these positions."""
    for place, number in sorted(numbers.items(), reverse=True):
        text = text[:place] + call_tag(number) + text[place:]
    return text


def solved_by_large(recipe: RelayRecipe, tasks: Sequence[OpenTask], folder: Path) -> list[OpenTask]:
    """The tasks with only those instances that the large model solves greedily.

    Raises:
        MixrouteError: it solves none.
    """
    played = _played(recipe, tasks, _always(recipe.large), 1, 0.0, folder)
    solved = [{episode.instance for episode in episodes if episode.success} for episodes in played]
    found = [
        replace(opened, instances=[one for one in opened.instances if one.id in ids])
        for opened, ids in zip(tasks, solved, strict=True)
    ]
    if not any(opened.instances for opened in found):
        raise MixrouteError(
            f"recipe '{recipe.name}': '{recipe.large}' solves none of its tasks: nothing can be learned"
        )
    return [opened for opened in found if opened.instances]


def _always(model: str) -> RouterEntry:
    return RouterEntry(router="always", args={"model": model})


def _played(
    recipe: RelayRecipe, tasks: Sequence[OpenTask], router: RouterEntry, samples: int, temperature: float, folder: Path
) -> list[list[Episode]]:
    """The episodes of one router on each task, without those that ended in an error."""
    seeds = [seed_for(recipe.seed, sample) % (1 << 31) for sample in range(samples)]
    runs = play_runs(
        recipe.name, recipe.pool, tasks, [router], seeds, folder, mode=recipe.mode, temperature=temperature
    )
    return [
        [episode for run in runs if run.opened is opened for episode in run.episodes() if not episode.error]
        for opened in tasks
    ]
