"""The collector: which environments step, wait and restart, and what memory is given."""

import numpy as np
import pytest

from dqn.agent import Actor
from dqn.env import Step
from dqn.runner.clock import whole_rounds
from dqn.runner.collector import Collector
from dqn.seeding import Uniforms, stream


class Script:
    """Environments of one seed whose episodes end at given steps; it records what it is asked for."""

    mask = None

    def __init__(self, lengths: list[list[int]]) -> None:
        self.lengths = lengths  # of each environment's successive episodes
        self.calls: list[tuple[str, list[int]]] = []

    def reset(self, iteration: int) -> np.ndarray:
        self.paused = np.zeros((1, len(self.lengths)), bool)
        self.episode = np.zeros(len(self.lengths), int)
        self.age = np.zeros((1, len(self.lengths)))
        return self.age[..., None].copy()

    def step(self, action: np.ndarray) -> Step:
        self.age += ~self.paused
        limits = [lengths[i] for lengths, i in zip(self.lengths, self.episode, strict=True)]
        ended = (self.age == limits) & ~self.paused
        none = np.zeros_like(ended)
        reward = (~self.paused).astype(float)
        return Step(self.age[..., None].copy(), reward, reward, ended, none, ended, none, None)

    def restart(self, where: np.ndarray) -> np.ndarray:
        self.calls.append(("restart", np.flatnonzero(where).tolist()))
        self.paused[where], self.age[where] = False, 0
        self.episode += where[0]
        return self.age[..., None].copy()

    def pause(self, where: np.ndarray) -> np.ndarray:
        self.calls.append(("pause", np.flatnonzero(where).tolist()))
        self.paused[where] = True
        return self.age[..., None].copy()


def make(lengths: list[list[int]], ticks) -> tuple[Collector, Script]:
    env = Script(lengths)
    actor = Actor(
        q_values=lambda obs, noise: np.zeros((*obs.shape[:2], 2)),
        num_actions=2,
        stack=1,
        padding=0,
        exploration=None,
        noise=None,
    )
    collector = Collector(env=env, actor=actor, ticks=ticks)  # type: ignore[arg-type]
    collector.start(0)
    return collector, env


def test_rounds_pause_what_has_ended_and_restart_all_together():
    collector, env = make([[2, 1], [3, 1]], whole_rounds)
    steps = [collector.collect(0.0, 9) for _ in range(4)]
    assert [step.ticks for step in steps] == [0, 0, 1, 1]
    assert [step.row.active.tolist() for step in steps] == [
        *[[[True, True]], [[True, True]]],
        *[[[False, True]], [[True, True]]],
    ]
    assert env.calls == [("pause", [0]), ("restart", [0, 1]), ("restart", [0, 1])]
    assert [step.row.obs.ravel().tolist() for step in steps] == [[0, 0], [1, 1], [2, 2], [0, 0]]


def test_steps_restart_at_once_what_has_ended():
    collector, env = make([[1, 2, 9], [9]], lambda waiting: waiting.shape[1])
    steps = [collector.collect(0.0, 99) for _ in range(3)]
    assert [step.ticks for step in steps] == [2, 2, 2]
    assert all(step.row.active.all() for step in steps)
    assert env.calls == [("restart", [0]), ("restart", [0])]


def test_the_last_tick_of_an_iteration_cuts_every_episode_and_restarts_none():
    collector, env = make([[1, 9], [9]], lambda waiting: waiting.shape[1])
    step = collector.collect(0.0, 2)
    assert step.row.terminated.tolist() == [[True, False]]
    assert step.row.truncated.tolist() == [[False, True]]
    assert step.ended.tolist() == [[True, False]]
    assert env.calls == []


@pytest.mark.parametrize("waits", [0, 1])
def test_an_environment_explores_while_another_of_its_seed_waits(waits):
    """The random numbers of a seed go on while any of its environments plays."""
    lengths = [[2], [400]] if waits == 0 else [[400], [2]]
    collector, _ = make(lengths, whole_rounds)
    collector.actor.exploration = Uniforms([stream(0, "exploration")], (2, 2))
    actions = [collector.collect(1.0, 9).row.action[0, 1 - waits] for _ in range(300)]
    assert 100 < sum(actions) < 200
    changes = np.count_nonzero(np.diff(actions))
    assert changes > 100


def test_epsilon_needs_random_numbers():
    collector, _ = make([[9]], whole_rounds)
    with pytest.raises(ValueError, match="greedy"):
        collector.collect(0.1, 9)
