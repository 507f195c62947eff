"""The tasks ``webshop`` (the released products) and ``webshop-gen`` (made-up ones)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast, overload

from mixroute import Environment, Instance, MixrouteError, Observation, ScaffoldedTask, TaskRules
from tasks.webshop.catalogue import Catalogue, load_catalogue, open_catalogue
from tasks.webshop.environment import FORMS, Form, WebShopEnvironment
from tasks.webshop.expert import Expert
from tasks.webshop.generate import GOALS, PRODUCTS, Generated, goals_of, write_files
from tasks.webshop.goal import Goal
from tasks.webshop.nouns import TAGGER
from tasks.webshop.rules import RULES, Pages, goal_of

SPLITS = {"test": (0, 500), "eval": (500, 1500), "train": (1500, None)}
"""First goal of each official split and the one after its last. Others train on 500 and up, ``eval`` included."""

TRAIN_GOALS = 2000
"""Goals of ``webshop-gen``'s split ``train`` unless asked otherwise."""

OFFICIAL = {"small": "84a88529f8ff7ca832e837ab9e11bbf8b02f909a92ac91b33feb9bf9d3ba5d59"}
"""Fingerprints of released catalogues."""


class GoalInstances(Sequence[Instance]):
    """Goals as instances, made when asked for. Ids sort by the goal's index.

    Args:
        goals: All goals of a catalogue.
        split: Begins every id.
        kind: ``synthetic`` or ``human``; part of every id.
        indices: Which goals.
    """

    def __init__(self, goals: Sequence[Goal], split: str, kind: str, indices: range) -> None:
        self._goals, self._name, self._indices = goals, f"{split}/{kind}", indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Instance]: ...
    def __getitem__(self, index: int | slice) -> Instance | Sequence[Instance]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        number = self._indices[index]
        goal = self._goals[number]
        return Instance(f"{self._name}-{number:08d}-{goal.asin}", goal.category, goal)


class ShopTask(ScaffoldedTask):
    """Base class of both tasks: how goals are shown, played and scored."""

    name: str
    action_tokens: ClassVar[int] = 64
    rules: TaskRules = RULES

    def __init__(
        self,
        catalogue: Catalogue,
        instances: Sequence[Instance],
        split: str,
        *,
        observation: str,
        show_admissible: bool,
        prompt: str,
        page_budget: int,
        price_seed: int,
        strict_options: bool,
        step_cap: int,
    ) -> None:
        if observation not in FORMS:
            raise MixrouteError(f"unknown WebShop observation '{observation}': use one of {', '.join(FORMS)}")
        if step_cap < 1:
            raise MixrouteError(f"step_cap = {step_cap}: an episode needs at least one step")
        self.catalogue = catalogue
        self.split = split
        self.step_cap = step_cap
        self.blocking = catalogue.on_disk
        self._instances = instances
        self._observation = cast("Form", observation)
        self._price_seed, self._strict, self._page_budget = price_seed, strict_options, page_budget
        self._pages = Pages(page_budget)
        super().__init__(prompt, show_admissible=show_admissible)

    def instances(self) -> Sequence[Instance]:
        """The goals of the split, sorted by id."""
        return self._instances

    def open(self, instance: Instance) -> Environment:
        """A new environment for a goal of ``instances()``; all share the catalogue."""
        return WebShopEnvironment(
            self.catalogue,
            instance.data,
            observation=self._observation,
            price_seed=self._price_seed,
            strict_options=self._strict,
        )

    def goal_of(self, first: Observation) -> str:
        """What the first page asks for."""
        return goal_of(first)

    def shown(self, observation: Observation, before: Observation | None, *, first: bool) -> str:
        """A page without what the agent has seen, and no longer than the budget."""
        return self._pages.shown(observation, before, first=first)

    def listed(self, observation: Observation) -> tuple[Sequence[str], str]:
        """The admissible actions, as far as the budget goes."""
        return self._pages.listed(observation.admissible)

    def expert(self) -> Expert:
        """A handcoded player that acts on what an agent has seen."""
        return Expert()

    def is_success(self, score: float) -> bool:
        """Whether everything asked for was bought: a reward of exactly 1."""
        return score == 1

    @cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 of the split's goals, drawn price bounds included, in order; computing it makes every goal once."""
        digest = hashlib.sha256()
        for instance in self._instances:
            digest.update(json.dumps(asdict(instance.data), sort_keys=True).encode() + b"\n")
        return digest.hexdigest()

    def protocol(self) -> Mapping[str, Any]:
        """Settings and data that may change a score."""
        return {
            "task": self.name,
            "split": self.split,
            "goals": len(self._instances),
            "data": self.data_fingerprint,
            "catalogue": self.catalogue.fingerprint,
            "products": len(self.catalogue),
            "price_seed": self._price_seed,
            "strict_options": self._strict,
            "tagger": TAGGER,
            "observation": self._observation,
            "step_cap": self.step_cap,
            **self.prompt_protocol(list_field="actions", **self._pages.hashed()),
            "page_budget": self._page_budget,
            "invalid_action": "leaves the page; costs a step; the back doors <r>, <a>, <c>, <q> are invalid",
        }


class WebShopTask(ShopTask):
    """The released products and the goals made from them.

    Args:
        data: Folder of the three files, small or full, plain or ``.xz``. Default: ``$WEBSHOP_DATA``, else the cache
            folder of mixroute.
        split: ``test`` (goals 0-499), ``eval`` (500-1499) or ``train`` (from 1500 on).
        goals: ``synthetic``, made from the products, or ``human``, written by people.
        observation: ``text``, or ``text_rich`` with marked buttons.
        show_admissible: Whether the admissible actions are listed though the scaffold does not list them.
        prompt: The scaffold, by name or as a file: ``compact``, ``chat``, ``think``; docs/scaffolds.md.
        page_budget: Most words and signs of a page that the prompt shows.
        price_seed: Draws prices and price bounds; the original draws them anew at each start.
        strict_options: Repairs the original's comparison of options; see ``tasks.webshop.reward``.
        step_cap: Steps after which an episode ends.
    """

    name: str = "webshop"

    def __init__(
        self,
        data: str | Path | None = None,
        split: str = "test",
        goals: str = "synthetic",
        observation: str = "text",
        show_admissible: bool = False,
        prompt: str = "compact",
        page_budget: int = 120,
        price_seed: int = 0,
        strict_options: bool = False,
        step_cap: int = 15,
    ) -> None:
        if split not in SPLITS:
            raise MixrouteError(f"WebShop has no split '{split}': use one of {', '.join(SPLITS)}")
        catalogue = load_catalogue(data)
        found = catalogue.goals(goals, price_seed)
        first, end = SPLITS[split]
        indices = range(len(found))[first:end]
        if not indices:
            fix = "use the split 'test'" if found else "items_human_ins.json is missing or of other products"
            raise MixrouteError(f"the data has {len(found)} {goals} goals and '{split}' begins at {first}: {fix}")
        self._kind = goals
        super().__init__(
            catalogue,
            GoalInstances(found, split, goals, indices),
            split,
            observation=observation,
            show_admissible=show_admissible,
            prompt=prompt,
            page_budget=page_budget,
            price_seed=price_seed,
            strict_options=strict_options,
            step_cap=step_cap,
        )

    def protocol(self) -> Mapping[str, Any]:
        """Settings and data that may change a score; ``official_data`` says if the products are the released ones."""
        known = next((size for size, digest in OFFICIAL.items() if digest == self.catalogue.fingerprint), None)
        return {**super().protocol(), "goal_kind": self._kind, "official_data": known}


class WebShopGenTask(ShopTask):
    """Made-up products and goals by the same rules. Scores on them are never WebShop scores.

    Args:
        split: ``train`` (as many as wanted), ``dev``, ``test`` or a fresh one (200 goals each).
        goals: How many goals; default all of ``dev`` or ``test``, and 2,000 of ``train``.
        products: How many products the catalogue has.
        seed: Number of the catalogue; for ``train`` only.
        observation: ``text``, or ``text_rich`` with marked buttons.
        show_admissible: Whether the admissible actions are listed though the scaffold does not list them.
        prompt: The scaffold, by name or as a file: ``compact``, ``chat``, ``think``; docs/scaffolds.md.
        page_budget: Most words and signs of a page that the prompt shows.
        price_seed: Draws prices and price bounds.
        strict_options: Repairs the original's comparison of options; see ``tasks.webshop.reward``.
        step_cap: Steps after which an episode ends.
    """

    name: str = "webshop-gen"
    fresh_games_like: ClassVar[str] = "test"

    def __init__(
        self,
        split: str = "test",
        goals: int | None = None,
        products: int = PRODUCTS,
        seed: int = 0,
        observation: str = "text",
        show_admissible: bool = False,
        prompt: str = "compact",
        page_budget: int = 120,
        price_seed: int = 0,
        strict_options: bool = False,
        step_cap: int = 15,
    ) -> None:
        catalogue = open_catalogue(Generated(split, products, seed))
        found = catalogue.goals("synthetic", price_seed)
        fixed = goals_of(split)
        most = len(found) if fixed is None else min(fixed, len(found))
        count = min(fixed or TRAIN_GOALS, most) if goals is None else goals
        if not 1 <= count <= most:
            raise MixrouteError(f"webshop-gen {split}: goals = {count}: {products} products give 1 to {most}")
        super().__init__(
            catalogue,
            GoalInstances(found, f"{split}-{seed}" if seed else split, "synthetic", range(count)),
            split,
            observation=observation,
            show_admissible=show_admissible,
            prompt=prompt,
            page_budget=page_budget,
            price_seed=price_seed,
            strict_options=strict_options,
            step_cap=step_cap,
        )

    @classmethod
    def prepare_data(cls, folder: Path) -> Path:
        """Write the dev and test products into ``folder`` as files that the original reads."""
        for split in GOALS:
            write_files(Generated(split), folder / split)
        return folder
