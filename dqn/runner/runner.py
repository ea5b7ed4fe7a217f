"""The loop: act, store, learn, and between iterations log, evaluate and save."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dqn.agent import Agent
from dqn.env import Environments
from dqn.errors import UserError
from dqn.memory import ReplayMemory
from dqn.process import MallocTrimmer
from dqn.runner.best_policy import Best
from dqn.runner.clock import Clock
from dqn.runner.evaluator import Evaluator
from dqn.runner.video import Camera
from dqn.schedule import Schedule
from dqn.stats import interquartile_mean
from dqn.storage.checkpoint import Checkpoint, Part, TorchPart
from dqn.tracking.logger import Logger
from dqn.types import Row

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
        logger: Logger,
        checkpoint: Checkpoint,
        camera: Camera,
        bar: "Bar | None",
        on_progress: Callable[[dict[str, Any]], None],
    ) -> None:
        self.clock, self.env, self.agent, self.memory = clock, env, agent, memory
        self.epsilon, self.evaluator = epsilon, evaluator
        self.logger, self.checkpoint, self.on_progress = logger, checkpoint, on_progress
        self.camera, self.bar = camera, bar
        self.trimmer = MallocTrimmer()
        self.starts = max(clock.learning_starts, memory.least_stored)
        """Transitions that each seed has stored before the first update."""
        self.stop = threading.Event()
        """Ends the run at its next step, as an interrupt, when it is set."""
        self.best = Best(len(logger.seeds))
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
                    self.look_at_limits()
                if self.evaluates() and self.evaluator is not None:
                    returns = self.evaluator(self.agent.policy, self.iteration)
                    self.logger.evaluated(returns)
                    self.best.evaluated(self.agent.policy.state_dict(), returns, self.iteration)
                self.report(self.logger.end_iteration())
                if self.clock.histogram_period and self.iteration % self.clock.histogram_period == 0:
                    values = self.agent.policy.q_values(self.memory.observations(HISTOGRAM_OBSERVATIONS))
                    self.logger.histogram("train/q_values", values)
                if self.clock.video_period and self.iteration % self.clock.video_period == 0:
                    path = self.logger.folder / "videos" / f"iteration-{self.iteration}.mp4"
                    self.camera.film(path, self.agent.policy, self.iteration)
                self.save()
            if not self.evaluates():
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
        self.logger.start_iteration()
        obs = self.env.reset(self.iteration)
        waiting = np.zeros(obs.shape[:2], bool)
        active = ~waiting
        stop = self.tick + self.clock.iteration_length
        look = LOOK_STEPS
        while self.tick < stop:
            if self.stop.is_set():
                raise KeyboardInterrupt
            look -= 1
            if not look:
                look = LOOK_STEPS
                self.show()
                self.trimmer.trim()
            epsilon = self.epsilon(self.tick)
            action = self.agent.act(obs, epsilon, active)
            step = self.env.step(action)
            ended, truncated = step.ended, step.truncated
            waiting |= ended
            ticks = self.clock.ticks(waiting)
            if self.tick + ticks == stop:  # the iteration's end cuts every episode
                truncated = active & ~step.terminated
            self.memory.push(Row(obs, action, step.reward, step.next_obs, step.terminated, truncated, active))
            self.logger.transitions(raw_reward=step.raw_reward, active=active, ended=ended, epsilon=epsilon)
            obs = step.next_obs
            if ticks:
                self.tick += ticks
                self.learn(ticks)
                if np.count_nonzero(waiting) and self.tick < stop:
                    obs = self.env.restart(waiting)
                    waiting = np.zeros_like(waiting)
                    active = ~waiting
            elif np.count_nonzero(ended):
                obs = self.env.pause(ended)
                active = ~waiting

    def learn(self, ticks: int) -> None:
        """Do, tick by tick, the updates and the target syncs that the latest `ticks` made due."""
        clock = self.clock
        for tick in range(self.tick - ticks + 1, self.tick + 1):
            if tick % clock.train_period == 0 and self.logger.steps.min() >= self.starts:
                for _ in range(clock.updates_per_train):
                    self.update(tick)
            if tick % clock.target_period == 0:
                self.agent.sync_target(clock.target_tau)

    def update(self, tick: int) -> None:
        sample = self.memory.sample(self.clock.batch_size)
        update = self.agent.update(sample, tick)
        self.logger.update(update)
        wrong = ~np.isfinite(update.loss)
        if wrong.any():
            seeds = [seed for seed, is_wrong in zip(self.logger.seeds, wrong, strict=True) if is_wrong]
            raise UserError(
                f"the loss of seed {', '.join(map(str, seeds))} is not finite in update"
                f" {self.logger.updates}; a smaller agent.lr or agent.max_grad_norm may help"
            )
        self.memory.update_priorities(sample.row, update.priority)

    def look_at_limits(self) -> None:
        """Warn where the rewards may give returns that the head cannot represent."""
        gamma, time_limit = self.agent.gamma, self.env.spec.time_limit
        steps = 1 / (1 - gamma) if gamma < 1 else float(time_limit or "inf")
        obs = torch.from_numpy(self.memory.observations(1)).to(self.agent.policy.device)
        low, high = self.agent.online(obs).limits()
        least, most = self.memory.reward_range()
        if least * steps < low or most * steps > high:
            log.warning(
                "rewards from %g to %g at agent.gamma=%g may give returns from %g to %g; the support of"
                " network.head holds %g to %g",
                *(least, most, gamma, min(0.0, least * steps), max(0.0, most * steps), low, high),
            )

    def evaluates(self) -> bool:
        """Return whether an evaluation is due after the present iteration."""
        return self.clock.eval_period > 0 and self.iteration % self.clock.eval_period == 0

    def final_evaluation(self) -> None:
        """Evaluate the finished run where no periodic evaluation did; only its status tells of it.

        A longer total, given later, then still gives the metrics of a run that had it from the start.
        """
        if self.evaluator is not None:
            self.logger.keep_evaluation(self.evaluator(self.agent.policy, self.iteration))

    def result(self) -> float:
        """Return the interquartile mean over seeds of the latest evaluation or, without one, of training."""
        if self.logger.evaluation is not None:
            return interquartile_mean([float(np.mean(r)) for r in self.logger.evaluation.values()])
        returns = self.logger.recent_returns()
        return interquartile_mean(returns) if returns else float("nan")

    def report(self, steps_per_second: float) -> None:
        """Tell the log and the run folder how far the run is."""
        total = self.clock.total
        parts = [f"{self.clock.unit} {self.tick:>{len(str(total))}} of {total}", *self.numbers()]
        if self.evaluates() and self.logger.evaluation is not None:
            parts.append(f"evaluation {self.result():6.1f}")
        parts.append(f"{steps_per_second:,.0f} steps/s")
        log.info(" | ".join(parts))
        self.show()
        self.on_progress(self.progress())

    def numbers(self) -> list[str]:
        """Return the returns of the latest episodes, over several seeds with their range, and epsilon."""
        returns = self.logger.recent_returns()
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
        parts.append(f"{self.logger.steps_per_second():,.0f} steps/s")
        self.bar.show(self.tick, " | ".join(parts))

    def selected(self) -> dict[str, Any] | None:
        """Return each seed's best periodic evaluation, for the status; None without any."""
        seeds = {
            str(seed): {"mean_return": float(score), "iteration": int(iteration)}
            for seed, score, iteration in zip(
                self.logger.seeds, self.best.score, self.best.iteration, strict=True
            )
            if iteration
        }
        return {"note": "selected by evaluation, so biased upwards", "seeds": seeds} if seeds else None

    def progress(self) -> dict[str, Any]:
        return {
            "unit": self.clock.unit,
            "tick": self.tick,
            "total": self.clock.total,
            "iteration": self.iteration,
            "updates": self.logger.updates,
            "steps": self.logger.steps.tolist(),
            "episodes": self.logger.episodes.tolist(),
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
            self.logger.open(None)
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
            "logger": self.logger.state_dict(),
            "files": self.logger.files(),
            "tick": self.tick,
            "iteration": self.iteration,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.logger.load_state_dict(state["logger"])
        self.tick, self.iteration = state["tick"], state["iteration"]
        self.logger.open(state["files"])
