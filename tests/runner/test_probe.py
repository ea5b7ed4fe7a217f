"""The probe for environments that ignore their seed: what it notices, and that nothing else notices it."""

import json
import random
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from envs import Counting, make_environments
from gymnasium import spaces
from helpers import TINY_STEPS, train_run

from dqn.runner.probe import probe as play

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def own(env: gymnasium.Env) -> float:
    return float(env.np_random.random())


SOURCES: dict[str, Any] = {
    "own": own,
    "python": lambda _: random.random(),
    "numpy": lambda _: float(np.random.random()),  # noqa: NPY002
    "torch": lambda _: float(torch.rand(())),
    "unseeded": lambda _: float(np.random.default_rng().random()),
}
MADE = iter(range(10**9))


class Random(gymnasium.Env):
    """Takes one of its results from a source of random numbers."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = spaces.Discrete(2)

    def __init__(self, source: str = "own", result: str = "obs") -> None:
        self.source, self.result = SOURCES[source], result
        self.made = self.source(self) if result == "made" else next(MADE) if result == "count" else 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.obs(), {}

    def obs(self) -> Any:
        number = self.source(self) if self.result == "obs" or (self.result, self.t) == ("late", 5) else 0.0
        return np.array([number + self.made])

    def step(self, action: int) -> Any:
        self.t += 1
        return self.obs(), self.source(self) if self.result == "reward" else 0.0, False, False, {}


gymnasium.register("Random-v0", Random)


def probe(id: str = "Random-v0", **kwargs: Any) -> str | None:
    changes = {"vectorization": kwargs.pop("vectorization", "sync")}
    return play(make_environments(id, kwargs=kwargs, **changes), 3).ignored_seed


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_of_random_numbers(source, vectorization):
    """An environment in a process inherits the global generators' states."""
    expected = None if source == "own" else "the observation at reset differs between two environments"
    found = probe(source=source, vectorization=vectorization)
    assert found is None if expected is None else expected in str(found)


FOUND = {
    "reward": "the reward of step 1 ",
    "late": "the observation of step 5 ",
    "made": "the observation at reset ",
    "count": "the observation at reset ",
}


@pytest.mark.parametrize("result", FOUND)
def test_every_result(result):
    assert str(probe(source="unseeded", result=result)).startswith(FOUND[result])


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_masks_that_are_not_used(vectorization):
    for id, source in (("Taxi-v4", None), ("Taxi-v4", "info"), ("Chain-v0", None)):
        env = make_environments(id, vectorization=vectorization, action_mask=source)
        assert play(env, 3).unused_mask == (id == "Taxi-v4" and source is None)


@pytest.mark.parametrize("id", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-v1", "Chain-v0"])
def test_right_environments(id):
    assert probe(id) is None


def test_one_environment_lives_at_a_time():
    Counting.most = 0
    assert probe("Counting-v0", strict=True) is None
    assert (Counting.most, Counting.alive) == (1, 0)


@pytest.mark.parametrize("source", ["own", "python", "numpy", "torch"])
def test_global_generators_stay_as_they_were(source):
    def states() -> Any:
        numpy = np.random.get_state(legacy=False)  # noqa: NPY002
        numpy["state"] = {key: np.asarray(value).tolist() for key, value in numpy["state"].items()}
        return random.getstate(), numpy, torch.get_rng_state().tolist()

    np.random.standard_normal()  # noqa: NPY002  # keeps a second number
    before = states()
    probe(source=source)
    assert states() == before


TEXT = "env.id=Random-v0 ignores its seed, so the run cannot be repeated or resumed exactly"


def test_a_run_says_that_it_cannot_be_repeated(tmp_path, caplog):
    for source, totals, reason in (("own", [200], None), ("unseeded", [200, 400], "the observation at")):
        folder, words = tmp_path / source, ["env=base", "env.id=Random-v0", f"+env.kwargs.source={source}"]
        for total in totals:
            caplog.clear()
            train_run(
                folder, [*TINY_STEPS, *words, "runner.learning_starts=400", f"runner.total_steps={total}"]
            )
            status = json.loads((folder / "status.json").read_text())
            assert status["reproducible"] == (reason is None) == (TEXT not in caplog.text)
            assert (status["irreproducible_because"] or "").startswith(reason or "")
