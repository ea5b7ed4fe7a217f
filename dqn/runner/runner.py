"""The training loop: act, store, learn; after each iteration evaluate, log and save."""

import itertools
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

from dqn.agent import Agent
from dqn.env import Environments
from dqn.errors import UserError
from dqn.memory import ReplayMemory
from dqn.process import MallocTrimmer
from dqn.runner.best_policy import Best
from dqn.runner.clock import Clock
from dqn.runner.collector import Collector
from dqn.runner.counters import Counters
from dqn.runner.evaluator import Evaluator
from dqn.runner.hooks import Callbacks
from dqn.runner.progress import RunProgress, status
from dqn.runner.support import warn_of_returns_beyond_support
from dqn.runner.video import Camera
from dqn.schedule import Schedule
from dqn.stats import interquartile_mean
from dqn.storage.checkpoint import Checkpoint, Part, TorchPart
from dqn.storage.schema import FilesState, LearnerState
from dqn.tracking.logger import Logger
from dqn.types import Floats

log = logging.getLogger(__name__)

DRAW_STEPS = 16
"""Loop steps between two checks of the time, for the progress; slow environments take a second for each."""
TRIM_STEPS = 256
"""Loop steps between two checks of the process's memory."""
HISTOGRAM_OBSERVATIONS = 256


class Runner:
    """Trains K seeds in lock step; `restore` continues from the last checkpoint of its folder.

    A run is a sequence of iterations. Each starts on new, freshly seeded environments, and everything else
    that lasts from one iteration to the next is in the checkpoint. So a run that was killed and resumed is
    bit for bit the run that was never stopped.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        env: Environments,
        agent: Agent,
        memory: ReplayMemory,
        epsilon: Schedule,
        evaluator: Evaluator | None,
        counters: Counters,
        logger: Logger,
        callbacks: Callbacks,
        checkpoint: Checkpoint,
        camera: Camera | None,
        progress: RunProgress,
        on_progress: Callable[[dict[str, Any]], None],
    ) -> None:
        self.clock, self.env, self.agent, self.memory = clock, env, agent, memory
        self.epsilon, self.evaluator = epsilon, evaluator
        self.counters, self.logger, self.checkpoint = counters, logger, checkpoint
        self.camera, self.progress, self.on_progress = camera, progress, on_progress
        self.callbacks = callbacks
        callbacks.bind(self)
        self.collector = Collector(env=env, actor=agent.actor, ticks=clock.ticks)
        self.trimmer = MallocTrimmer()
        self.best = Best(counters.seeds)
        self.starts = max(clock.learning_starts, memory.least_stored)
        """Transitions that each seed stores before the first update."""
        self.stop = threading.Event()
        """Once set, the next step raises KeyboardInterrupt."""
        self.iteration = 0
        self.tick = 0
        self.stopped: str | None = None
        """The reason why a callback ended the run early."""
        self._files: FilesState | None = None
        """State of the files at the checkpoint from which the run continues."""

    def run(self) -> float:
        """Train to the end and return the interquartile mean over seeds of the final evaluation's returns.

        Without evaluation it is that of each seed's mean return in its latest training episodes.

        Raises:
            UserError: the loss is not finite, a callback failed, or a file could not be written; the last
                checkpoint stays.
        """
        try:
            self.open()
            restored_at = self.tick
            self.callbacks.start()
            self.progress.start(self.tick)
            while self.tick < self.clock.total and self.stopped is None:
                self.train()
                self.iteration += 1
                if self.iteration == 1:
                    warn_of_returns_beyond_support(self.agent, self.memory)
                self.end_iteration()
                self.save()
            if self.tick == restored_at or not self.is_due(self.clock.eval_period):
                self.final_evaluation()
            result = self.result()
            self.callbacks.end(result)
            self.logger.end(result)
        except BaseException:
            with ExitStack() as stack:  # closes also if another signal interrupts `on_end`
                stack.enter_context(suppress(Exception))  # the first error counts
                stack.callback(self.close)  # may fail: the same signal may have stopped workers
                with suppress(Exception):
                    self.callbacks.end(None)
            raise
        self.close()
        return result

    def train(self) -> None:
        """Play and learn for one iteration."""
        self.counters.start_iteration()
        self.progress.start_iteration(self.tick)
        self.collector.start(self.iteration)
        end = self.tick + self.clock.iteration_length
        for step in itertools.count(1):
            if self.stop.is_set():
                raise KeyboardInterrupt
            if step % DRAW_STEPS == 0:
                self.progress.train(self)
            if step % TRIM_STEPS == 0:
                self.trimmer.trim()
            epsilon = self.epsilon(self.tick)
            row, raw_reward, ended, ticks = self.collector.collect(epsilon, end - self.tick)
            self.memory.push(row)
            for episode in self.counters.count(raw_reward=raw_reward, active=row.active, ended=ended):
                self.logger.episode(episode, epsilon)
                self.callbacks.episode(episode, self.env.info(episode.seed_index, episode.env_index))
            if ticks:
                self.tick += ticks
                self.learn(ticks)
                if self.tick >= end:
                    break
        self.counters.end_iteration()
        self.progress.end_iteration(self)
        self.env.close()  # before the evaluation makes environments, of which few may be allowed

    def learn(self, ticks: int) -> None:
        """Make the updates and target syncs that became due in the latest `ticks`, tick by tick."""
        clock = self.clock
        for tick in range(self.tick - ticks + 1, self.tick + 1):
            if tick % clock.train_period == 0 and self.counters.steps.min() >= self.starts:
                for _ in range(clock.updates_per_train):
                    self.update(tick)
            if tick % clock.target_period == 0:
                self.agent.sync_target(clock.target_tau)

    def update(self, tick: int) -> None:
        sample = self.memory.sample(self.clock.batch_size)
        update = self.agent.update(sample, tick)
        self.counters.updates += 1
        self.logger.update(update)
        finite = np.isfinite(update.loss)
        if not finite.all():
            seeds = ", ".join(str(self.counters.seeds[k]) for k in np.flatnonzero(~finite).tolist())
            raise UserError(
                f"the loss of seed {seeds} is not finite in update {self.counters.updates};"
                " a smaller agent.lr or agent.max_grad_norm may help"
            )
        self.memory.update_priorities(sample.row, update.priority)
        if self.callbacks.of_updates:
            self.callbacks.update(update)

    def is_due(self, period: int) -> bool:
        """Return whether an action with this period, in iterations, is due now; with period 0 it never is."""
        return period > 0 and self.iteration % period == 0

    def end_iteration(self) -> None:
        """Evaluate, log, draw histograms and film, each if it is due."""
        policy, counters, logger = self.agent.policy, self.counters, self.logger
        if self.is_due(self.clock.eval_period) and self.evaluator is not None:
            returns = self.evaluate(self.evaluator)
            counters.evaluated(returns)
            logger.evaluated(counters.positions, returns)
            self.best.evaluated(policy.state_dict(), returns, self.iteration)
            self.callbacks.evaluation(returns)
        speed = counters.steps_per_second()
        logger.end_iteration(counters.positions, steps_per_second=speed, returns=counters.recent_returns())
        self.progress.log(self)
        self.callbacks.iteration()
        if self.is_due(self.clock.histogram_period):
            values = policy.q_values(self.memory.observations(HISTOGRAM_OBSERVATIONS))
            logger.histogram(counters.positions, "train/q_values", values)
        if self.camera is not None and self.is_due(self.clock.video_period):
            path = logger.folder / "videos" / f"iteration-{self.iteration}.mp4"
            self.camera.film(path, policy, self.iteration, self.progress.filming(self))

    def final_evaluation(self) -> None:
        """Evaluate the finished run for its status and its trackers, not for metrics.jsonl."""
        if self.evaluator is not None:
            log.info("final evaluation: %d episodes of each seed", self.evaluator.episodes)
            returns = self.evaluate(self.evaluator)
            self.counters.evaluated(returns)
            self.logger.final_evaluation(self.counters.positions, returns)

    def evaluate(self, evaluator: Evaluator) -> Floats:
        """Return the returns [K, episodes] of the present policies, and show how far their episodes are."""
        with self.progress.evaluation(self) as watch:
            return evaluator(self.agent.policy, self.iteration, watch)

    def result(self) -> float:
        """Return the interquartile mean over seeds of the latest evaluation or, without one, of training."""
        if self.counters.evaluation is not None:
            return interquartile_mean([float(np.mean(r)) for r in self.counters.evaluation.values()])
        returns = self.counters.recent_returns()
        return interquartile_mean(returns) if returns else float("nan")

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.logger.close)
            stack.callback(self.env.close)
            stack.callback(self.progress.close)
            stack.callback(self.logger.flush)  # called first: an interrupted run keeps all its metrics

    def save(self) -> None:
        """Write a checkpoint, then record the progress: a status with an iteration has had its checkpoint.

        The best policies are written only if they changed.
        """
        self.checkpoint.save(self.iteration, self.parts(best=self.best.changed))
        self.best.changed = False
        self.logger.saved()
        self.on_progress(status(self))
        self.callbacks.checkpoint()

    def restore(self) -> None:
        """Load the checkpoint if there is one; nothing is written.

        Raises:
            UserError: the checkpoint is damaged or belongs to another run.
        """
        if self.checkpoint.exists():
            self.checkpoint.restore(self.parts(best=self.checkpoint.has("best")))

    def open(self) -> None:
        """Open the metrics files; what was written after the checkpoint is cut off."""
        lost = self.logger.latest(self.clock.unit, self._files) - self.tick
        self.logger.open(self.counters.positions, self._files)
        if self._files is not None:
            again = f"; {lost} logged {self.clock.unit}s after it are played again" if lost > 0 else ""
            log.info("resumed after %s %d%s", self.clock.unit, self.tick, again)

    def parts(self, *, best: bool) -> dict[str, Part]:
        """Return the parts of a checkpoint, in the order in which they are loaded."""
        # a callback may have no state yet: it may get its first one in `on_start`, which follows the loading
        callbacks = TorchPart(self.callbacks, like=self.agent.policy)
        return {
            "policy": TorchPart(self.agent.policy),
            "memory": TorchPart(self.memory),
            "rows": self.memory.rows,
            **({"best": TorchPart(self.best, like=self.agent.policy)} if best else {}),
            **({"callbacks": callbacks} if self.callbacks.configured else {}),
            "learner": TorchPart(self),
        }

    def state_dict(self) -> LearnerState:
        """Return the state that no other part of the checkpoint holds."""
        state: LearnerState = {
            "agent": self.agent.state_dict(),
            "counters": self.counters.state_dict(),
            "logger": self.logger.state_dict(),
            "files": self.logger.files(),
            "tick": self.tick,
            "iteration": self.iteration,
        }
        if self.stopped is not None:
            state["stopped"] = self.stopped
        return state

    def load_state_dict(self, state: LearnerState) -> None:
        self.best.check(self.agent.policy.state_dict())
        self.logger.check(state["files"])
        self.agent.load_state_dict(state["agent"])
        self.counters.load_state_dict(state["counters"])
        if self.evaluator is None:  # another runner.eval_episodes than before
            self.counters.evaluation = None
        self.logger.load_state_dict(state["logger"])
        self.tick, self.iteration = state["tick"], state["iteration"]
        self.stopped = state.get("stopped")
        self._files = state["files"]
