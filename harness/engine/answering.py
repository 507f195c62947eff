"""One step of an episode up to the router's answer: what the router is shown, and the calls that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.contracts import Backend, Router, Task, scaffold_of
from harness.data import Completion, Instance, Observation, Prompt, Request
from harness.engine.calls import StepCalls
from harness.engine.episode import LiveEpisode
from harness.engine.failures import FailureLog
from harness.engine.step import LiveStep, check_answer, shown_to_router
from harness.engine.supervision import Supervised, act
from harness.engine.watchdog import Watchdog
from harness.guard import contained
from harness.seeding import seed_for
from harness.sharing import SharedCache
from harness.suite import Suite


@dataclass(frozen=True, slots=True)
class Play:
    """What all episodes of a run share."""

    run: str
    seed: int
    temperature: float
    task: Task
    router: Router
    pool: Mapping[str, Backend]
    router_timeout: float
    environment_timeout: float = 3600.0
    sharing: SharedCache | None = None
    """The models that share a cache, if any."""
    failures: FailureLog = field(default_factory=FailureLog)

    @classmethod
    def of_suite(
        cls,
        suite: Suite,
        run: str,
        seed: int,
        task: Task,
        router: Router,
        pool: Mapping[str, Backend],
        sharing: SharedCache | None,
    ) -> Play:
        """A run of a suite.

        Args:
            suite: Has the temperature and the time limits.
            run: Hash of the run.
            seed: Its root seed.
            task: The task, opened.
            router: The router, opened.
            pool: The models that play, by name.
            sharing: Those that share a cache, if any.
        """
        limits = suite.router_timeout, suite.environment_timeout
        return cls(run, seed, suite.temperature, task, router, pool, *limits, sharing)

    def session(self, instance: Instance) -> str:
        """Name of the episode's caches. It does not give the instance away, since routers may find it."""
        return f"{seed_for(self.run, instance.id):016x}"

    def release(self, instance: Instance) -> Exception | None:
        """Free the models' caches of an episode; the first error in that."""
        first: Exception | None = None
        session = self.session(instance)
        for model in self.pool.values():
            try:
                contained(lambda model=model: model.release(session))  # type: ignore[misc] # a default binds the loop's model
            except Exception as error:
                first = first or error
        return first


@dataclass(frozen=True, slots=True)
class StepInPlay:
    """A step whose answer the router is to give; play and ``mixroute serve`` both make it here."""

    calls: StepCalls
    step: LiveStep
    supervised: Supervised

    @classmethod
    def after(
        cls,
        live: LiveEpisode,
        shown: Observation,
        prompt: Prompt,
        play: Play,
        watchdog: Watchdog,
        sampling_seed: int | None = None,
    ) -> StepInPlay:
        """The step after those of ``live``.

        Args:
            live: The episode.
            shown: What the environment shows now.
            prompt: What models will read.
            play: Router, models, and the defaults of a call.
            watchdog: Has the time limits.
            sampling_seed: Seed of answers that are sampled; by default it follows from run, instance and step.
        """
        instance, index = live.instance, len(live.steps)
        seed = seed_for(play.seed, instance.id, index, "sampling") if sampling_seed is None else sampling_seed
        request = Request(
            session=play.session(instance),
            prompt=prompt,
            stop=play.task.stop,
            max_tokens=play.task.max_tokens,
            temperature=play.temperature,
            seed=seed,
        )
        calls = StepCalls(play.pool, request, watchdog, scaffold_of(play.task))
        own_prompt, turns, observation = shown_to_router(prompt, live.turns, shown)
        step = LiveStep.of_episode(
            task=play.task,
            instance=instance.id,
            seed=play.seed,
            turns=turns,
            observation=observation,
            prompt=own_prompt,
            records=live.steps,
            models=tuple(play.pool),
            ask=calls.ask,
            sharing=play.sharing,
        )

        async def decide() -> Completion:
            return await play.router.act(step)

        calls.supervised = Supervised(decide, watchdog)
        return cls(calls, step, calls.supervised)

    async def answer(self) -> Completion:
        """The router's answer, rebuilt from the calls, once the last of them has ended.

        Raises:
            RunStopped: the router broke its contract, or a model cannot answer any call.
            EpisodeError: the answer is none; whatever else the router raises.
        """
        answer = await act(self.supervised)
        if self.calls.violation:
            raise self.calls.violation
        return check_answer(answer, await self.calls.finished())

    async def end(self) -> list[Completion]:
        """All calls that were answered, once the last has ended; the router can make no more."""
        calls = await self.calls.finished()
        self.calls.close()
        return calls
