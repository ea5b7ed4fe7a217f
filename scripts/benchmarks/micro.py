"""The cost of our parts within a run, beside plain code for the same work and beside lower bounds."""

import itertools
import json
import random
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard.writer import SummaryWriter

from benchmarks import limits
from benchmarks.subjects import Call, paired, trained
from benchmarks.table import Line
from benchmarks.whole import STACK, Setting
from benchmarks.works import HEAVY, LIGHT, Work
from dqn.memory.ring import STORED_ONCE
from dqn.runner import Runner

STEPS = 2_000
EPISODES, EPISODE_STEPS = 100, 20
"""Logged in one measurement: episodes, and steps of each."""
TAGS = ("train/return", "train/length", "train/epsilon", "train/loss", "train/q", "train/grad_norm")


def micro(setting: Setting) -> list[Line]:
    """Update, action, environment step, log and iteration, one seed and eight, in this process."""
    torch.set_num_threads(1)
    lines = []
    for work, num_seeds in itertools.product((LIGHT, HEAVY), (1, STACK)):
        short = replace(work, steps=STEPS, learning_starts=STEPS // 2)
        with trained(short, setting.overrides, num_seeds) as runner:
            parts = [update, action, *([step, log, iteration] if work is LIGHT else [])]
            for part in parts:
                lines += part(Measuring(runner, short, num_seeds, setting))
    return lines


class Measuring:
    """Measures the parts of a runner that has trained, per seed.

    Args:
        runner: the runner, after its first iteration.
        work: the work that it trains.
        num_seeds: K.
        setting: how to measure.
    """

    def __init__(self, runner: Runner, work: Work, num_seeds: int, setting: Setting) -> None:
        self.runner, self.work, self.num_seeds, self.setting = runner, work, num_seeds, setting
        self.sizes = [4, *work.hidden_sizes, 2]
        self.name = f"{'-'.join(map(str, self.sizes))}, K = {num_seeds}"

    def lines(
        self, work: str, ours: Call, *others: tuple[str, Call, int, float | None], times: int = 1
    ) -> list[Line]:
        """Measure a call of ours for all seeds beside other calls.

        Args:
            work: the name of what is measured.
            ours: our call, for all seeds.
            others: name, call, number of seeds, and target of the ratio, for each other call.
            times: repetitions of the work in each call.
        """
        calls = [ours, *(call for _, call, _, _ in others)]
        seconds = 0.01 if self.setting.quick else 0.2
        mine, *measured = paired(calls, self.setting.repeats, seconds)
        return [
            Line(
                work=f"{work}, per seed",
                beside=name,
                ours=[cost / self.num_seeds / times for cost in mine],
                theirs=[cost / count / times for cost in costs],
                unit="µs CPU",
                most=most,
            )
            for (name, _, count, most), costs in zip(others, measured, strict=True)
        ]


def update(at: Measuring) -> list[Line]:
    """An update with a given sample, beside plain PyTorch and its matrix products."""
    agent, work, count = at.runner.agent, at.work, at.num_seeds
    sample = at.runner.memory.sample(work.batch_size)
    plain = limits.plain_update(partial(limits.module, at.sizes), sample.batch, work.lr, work.max_grad_norm)
    products = limits.products(at.sizes, work.batch_size, count)
    most = 1.9 if work.name == LIGHT.name and count == STACK else None
    return at.lines(
        f"update, {at.name}, batch {work.batch_size}",
        lambda: agent.update(sample, at.runner.tick),
        ("plain PyTorch", plain, 1, None),
        ("its matrix products", products, count, most),
    )


def action(at: Measuring) -> list[Line]:
    """A greedy action, beside a module's under inference_mode and its matrix products."""
    obs = at.runner.env.reset(0)
    greedy = at.runner.agent.policy.actor()
    most = 1.0 if at.work.name == HEAVY.name and at.num_seeds == 1 else None
    return at.lines(
        f"greedy action, {at.name}",
        lambda: greedy.act(obs),
        ("the eager module under inference_mode", limits.eager_action(at.sizes, obs[0, 0]), 1, most),
        ("its matrix products in NumPy", limits.action_products(at.sizes, at.num_seeds), at.num_seeds, None),
    )


def step(at: Measuring) -> list[Line]:
    """A step of CartPole with its resets, beside Gymnasium's vector and the bare environment."""
    env, count = at.runner.env, at.num_seeds
    env.reset(0)
    actions = np.ones((count, 1), np.int64)

    def ours() -> None:
        ended = env.step(actions).ended
        if ended.any():
            env.restart(ended)

    return at.lines(
        f"environment step, K = {count}",
        ours,
        ("Gymnasium's SyncVectorEnv", limits.plain_step(count), count, None),
        ("the bare environment", limits.bare_step(), 1, None),
    )


def log(at: Measuring) -> list[Line]:
    """The log of an episode of 20 steps and 2 updates, flushed to disk, beside the same by SummaryWriter."""
    counters, logger, count = at.runner.counters, at.runner.logger, at.num_seeds
    losses = at.runner.agent.update(at.runner.memory.sample(at.work.batch_size), 0)
    active = np.ones((count, 1), np.bool_)
    reward, going = np.ones((count, 1)), np.zeros((count, 1), np.bool_)

    def ours() -> None:
        for left in reversed(range(EPISODE_STEPS)):
            ended = going if left else active
            for episode in counters.count(raw_reward=reward, active=active, ended=ended):
                logger.episode(episode, 0.5)
            if left % at.work.train_period == 0:
                logger.update(losses)

    def ours_written() -> None:
        for _ in range(EPISODES):
            ours()
        logger.files()

    with tempfile.TemporaryDirectory() as folder:
        plain = partial(write_scalars, SummaryWriter(folder), itertools.count())
        lines = partial(write_lines, Path(folder) / "metrics.jsonl")
        return at.lines(
            f"log of an episode, K = {count}",
            ours_written,
            ("torch's SummaryWriter", plain, 1, None),
            ("lines of JSON", lines, 1, None),
            times=EPISODES,
        )


def write_scalars(writer: SummaryWriter, steps: "itertools.count[int]") -> None:
    for tag, step in itertools.product(TAGS, itertools.islice(steps, EPISODES)):
        writer.add_scalar(tag, random.random(), step)
    writer.flush()


def write_lines(path: Path) -> None:
    with path.open("a") as file:
        for step in range(EPISODES):
            file.write(json.dumps({"step": step} | {tag: random.random() for tag in TAGS}) + "\n")


def iteration(at: Measuring) -> list[Line]:
    """The checkpoint after an iteration, beside torch.save of the same and a file of equal size."""
    runner = at.runner
    runner.save()
    ring = runner.memory.ring
    rows = [torch.from_numpy(ring.by_column(name)[:, : ring.filled.max() + 1]) for name in STORED_ONCE]
    parts = {name: runner.checkpoint.load(name) for name in ("policy", "learner", "memory")} | {"rows": rows}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        torch.save(parts, path)
        data = path.read_bytes()
        return at.lines(
            f"checkpoint, {at.name}, {STEPS:,} transitions",
            runner.save,
            ("torch.save", lambda: torch.save(parts, path), at.num_seeds, None),
            ("a file of the same bytes", lambda: path.write_bytes(data), at.num_seeds, None),
        )
