"""The loop: act, store, learn, and between iterations log, evaluate and save."""

import itertools
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

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
from dqn.runner.support import warn_of_returns_beyond_support
from dqn.runner.video import Camera
from dqn.schedule import Schedule
from dqn.stats import interquartile_mean
from dqn.storage.checkpoint import Checkpoint, Part, TorchPart
from dqn.tracking.logger import Logger

if TYPE_CHECKING:
    from dqn.tracking.progress_bar import Bar

log = logging.getLogger(__name__)

LOOK_STEPS = 256
"""Steps of the loop from one look at the clock, for the progress bar, and at the memory to the next."""
HISTOGRAM_OBSERVATIONS = 256


class Runner:
    """Trains K seeds in lock step, from the last checkpoint of its folder if there is one.

    A run is a row of iterations. Each begins on freshly made and seeded environments, and between two of them
    everything else is in the checkpoint: so a run that was killed and resumed is the run that was not.
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
        checkpoint: Checkpoint,
        camera: Camera | None,
        bar: "Bar | None",
        on_progress: Callable[[dict[str, Any]], None],
    ) -> None:
        self.clock, self.env, self.agent, self.memory = clock, env, agent, memory
        self.epsilon, self.evaluator = epsilon, evaluator
        self.collector = Collector(env=env, actor=agent.actor, ticks=clock.ticks)
        self.counters, self.logger = counters, logger
        self.checkpoint, self.on_progress = checkpoint, on_progress
        self.camera, self.bar = camera, bar
        self.trimmer = MallocTrimmer()
        self.starts = max(clock.learning_starts, memory.least_stored)
        """Transitions that each seed has stored before the first update."""
        self.stop = threading.Event()
        """Ends the run at its next step, as an interrupt, when it is set."""
        self.best = Best(counters.seeds)
        self.iteration = 0
        self.tick = 0

    def run(self) -> float:
        """Train to the end and return the interquartile mean over seeds of the final evaluation's returns.

        Without evaluation: of the mean of each seed's latest training returns.

        Raises:
            UserError: the loss is not finite, or a file could not be written; the last checkpoint stays.
        """
        try:
            self.restore()
            if self.bar is not None:
                self.bar.start(self.tick)
            while self.tick < self.clock.total:
                self.train()
                self.iteration += 1
                if self.iteration == 1:
                    warn_of_returns_beyond_support(self.agent, self.memory, self.env.spec.time_limit)
                self.end_iteration()
                self.save()
            if not self.is_due(self.clock.eval_period):
                self.final_evaluation()
        except BaseException:
            with suppress(Exception):  # such as of workers that the same signal has ended: the cause counts
                self.close()
            raise
        self.close()
        return self.result()

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.logger.close)
            stack.callback(self.env.close)
            if self.bar is not None:
                stack.callback(self.bar.close)

    def train(self) -> None:
        """Play and learn for one iteration."""
        self.counters.start_iteration()
        self.collector.start(self.iteration)
        end = self.tick + self.clock.iteration_length
        for step in itertools.count(1):
            if self.stop.is_set():
                raise KeyboardInterrupt
            if step % LOOK_STEPS == 0:
                self.show()
                self.trimmer.trim()
            epsilon = self.epsilon(self.tick)
            row, raw_reward, ended, ticks = self.collector.collect(epsilon, end - self.tick)
            self.memory.push(row)
            for episode in self.counters.count(raw_reward=raw_reward, active=row.active, ended=ended):
                self.logger.episode(episode, epsilon)
            if ticks:
                self.tick += ticks
                self.learn(ticks)
                if self.tick >= end:
                    break

    def learn(self, ticks: int) -> None:
        """Do, tick by tick, the updates and the target syncs that the latest `ticks` made due."""
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
        wrong = ~np.isfinite(update.loss)
        if wrong.any():
            seeds = [seed for seed, is_wrong in zip(self.counters.seeds, wrong, strict=True) if is_wrong]
            raise UserError(
                f"the loss of seed {', '.join(map(str, seeds))} is not finite in update"
                f" {self.counters.updates}; a smaller agent.lr or agent.max_grad_norm may help"
            )
        self.memory.update_priorities(sample.row, update.priority)

    def is_due(self, period: int) -> bool:
        """Return whether something of this period, in iterations, is due after the present one; 0: never."""
        return period > 0 and self.iteration % period == 0

    def end_iteration(self) -> None:
        """Evaluate, log, draw histograms and film, each where it is due."""
        policy, counters, logger = self.agent.policy, self.counters, self.logger
        if self.is_due(self.clock.eval_period) and self.evaluator is not None:
            returns = self.evaluator(policy, self.iteration)
            counters.evaluated(returns)
            logger.evaluated(counters.positions, returns)
            self.best.evaluated(policy.state_dict(), returns, self.iteration)
        speed = counters.steps_per_second()
        logger.end_iteration(counters.positions, steps_per_second=speed, returns=counters.recent_returns())
        self.report(speed)
        if self.is_due(self.clock.histogram_period):
            values = policy.q_values(self.memory.observations(HISTOGRAM_OBSERVATIONS))
            logger.histogram(counters.positions, "train/q_values", values)
        if self.camera is not None and self.is_due(self.clock.video_period):
            path = logger.folder / "videos" / f"iteration-{self.iteration}.mp4"
            self.camera.film(path, policy, self.iteration)

    def final_evaluation(self) -> None:
        """Evaluate the finished run, for its status alone.

        A run with a larger total, given later, thus writes the metrics of one that had it from the start.
        """
        if self.evaluator is not None:
            self.counters.evaluated(self.evaluator(self.agent.policy, self.iteration))

    def result(self) -> float:
        """Return the interquartile mean over seeds of the latest evaluation or, without one, of training."""
        if self.counters.evaluation is not None:
            return interquartile_mean([float(np.mean(r)) for r in self.counters.evaluation.values()])
        returns = self.counters.recent_returns()
        return interquartile_mean(returns) if returns else float("nan")

    def report(self, steps_per_second: float) -> None:
        """Log how far the run is and record it in the status."""
        total = self.clock.total
        parts = [f"{self.clock.unit} {self.tick:>{len(str(total))}} of {total}", *self.numbers()]
        if self.is_due(self.clock.eval_period) and self.counters.evaluation is not None:
            parts.append(f"evaluation {self.result():6.1f}")
        parts.append(f"{steps_per_second:,.0f} steps/s")
        log.info(" | ".join(parts))
        self.show()
        self.on_progress(self.progress())

    def numbers(self) -> list[str]:
        """Return the returns of the latest episodes, over several seeds with their range, and epsilon."""
        returns = self.counters.recent_returns()
        spread = f" ({min(returns):.1f} to {max(returns):.1f})" if len(returns) > 1 else ""
        told = [f"return {interquartile_mean(returns):6.1f}{spread}"] if returns else []
        return [*told, f"epsilon {self.epsilon(self.tick):.3f}"]

    def show(self) -> None:
        """Draw the progress bar, if there is one and it is due."""
        if self.bar is None or not self.bar.due():
            return
        parts = self.numbers()
        if np.isfinite(self.logger.loss).any():
            parts.append(f"loss {np.nanmean(self.logger.loss):.3g}")
        parts.append(f"{self.counters.steps_per_second():,.0f} steps/s")
        self.bar.show(self.tick, " | ".join(parts))

    def progress(self) -> dict[str, Any]:
        return {
            "unit": self.clock.unit,
            "tick": self.tick,
            "total": self.clock.total,
            "iteration": self.iteration,
            "updates": self.counters.updates,
            "steps": self.counters.steps.tolist(),
            "episodes": self.counters.episodes.tolist(),
        }

    def parts(self) -> dict[str, Part]:
        """Return what a checkpoint holds."""
        return {
            "learner": TorchPart(self),
            "policy": TorchPart(self.agent.policy),
            "memory": TorchPart(self.memory),
            "rows": self.memory.rows,
            "best": TorchPart(self.best),
        }

    def save(self) -> None:
        """Write a checkpoint of everything."""
        parts = self.parts()
        if not self.best.changed:
            del parts["best"]
        self.checkpoint.save(self.iteration, parts)
        self.best.changed = False

    def restore(self) -> None:
        """Go to where the checkpoint is, or to the start if there is none.

        Raises:
            UserError: the checkpoint is damaged or of another run.
        """
        if not self.checkpoint.exists():
            self.logger.open(self.counters.positions, None)
            return
        parts = self.parts()
        if not self.checkpoint.has("best"):
            del parts["best"]
        parts["learner"] = parts.pop("learner")  # the last: it cuts the metrics to where they were
        self.checkpoint.restore(parts)
        log.info("resumed after %s %d", self.clock.unit, self.tick)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is not in another part of the checkpoint."""
        return {
            "agent": self.agent.state_dict(),
            "counters": self.counters.state_dict(),
            "logger": self.logger.state_dict(),
            "files": self.logger.files(),
            "tick": self.tick,
            "iteration": self.iteration,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.counters.load_state_dict(state["counters"])
        self.logger.load_state_dict(state["logger"])
        self.tick, self.iteration = state["tick"], state["iteration"]
        self.logger.open(self.counters.positions, state["files"])
