"""What memory returns is what the environment gave."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from envs import Recorder
from helpers import make_runner
from records import pass_on

from dqn.memory import NStep, ReplayMemory, Ring, Uniform
from dqn.memory.ring import CLOSING
from dqn.runner import Runner
from dqn.types import FEED_FORWARD, EnvSpec, ObsSpec, Row

GAMMA = 0.9


def play(folder: Path, words: list[str]) -> tuple[Runner, dict[tuple[float, ...], list]]:
    """Run without learning; return the runner and all recorded steps by their observation."""
    records = folder / "records"
    records.mkdir()
    common = [
        *("env.id=Recorder-v0", "env.module=envs", f"+env.kwargs.folder={records}", f"agent.gamma={GAMMA}"),
        *(
            "env.time_limit_is_terminal=false",
            "env.reward_scale=0.5",
            "schedule=constant",
            "schedule.value=1",
        ),
        *("runner.batch_size=8", "runner.eval_episodes=0", "network.torso.hidden_sizes=[4]", "num_seeds=2"),
    ]
    runner = make_runner(folder / "run", [*words, *common])
    runner.run()
    steps = {}
    for file in records.iterdir():
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for number, line in enumerate(lines):
            line.append(number + 1 == len(lines))  # the iteration ended with it
            steps[tuple(line[0])] = line
    return runner, steps


def expected(steps: dict, obs: tuple[float, ...], n: int) -> tuple[float, float, list[float]]:
    """Return reward sum, discount and next observation by walking along the records."""
    total, discount = 0.0, 1.0
    for _ in range(n):
        _, _, reward, following, terminated, truncated, last = steps[obs]
        total += discount * reward * 0.5
        discount *= GAMMA
        if terminated or truncated or last:
            break
        obs = tuple(following)
    return total, 0.0 if terminated else discount, following


CLOCKS = {
    "steps": ["runner=steps", "runner.total_steps=120", "runner.iteration_length=60"],
    "episodes": ["runner=episodes", "runner.total_episodes=24", "runner.iteration_length=12"],
}


@pytest.mark.parametrize(
    ("clock", "envs"),
    [
        ("steps", "env.num_envs=1"),
        ("steps", "env.num_envs=3"),
        ("steps", "env.num_envs=3 env.vectorization=async"),
        ("episodes", "env.num_envs=1"),
        ("episodes", "env.num_envs=1 env.vectorization=async"),
    ],
)
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("capacity", [1000, 48], ids=["never full", "wrapped"])
def test_memory_returns_what_the_environment_gave(tmp_path, clock, envs, n_step, capacity):
    words = [
        *(*CLOCKS[clock], "runner.learning_starts=10", f"memory.reader.n_step={n_step}"),
        *(f"memory.capacity={capacity}", *envs.split()),
    ]
    runner, steps = play(tmp_path, words)
    ring, reader = runner.memory.ring, runner.memory.reader
    starts = np.flatnonzero(ring.is_start)[None]
    reward, discount, following = (array[0] for array in reader(ring, starts))
    seen = set()
    for i, start in enumerate(starts[0]):
        obs = tuple(ring.obs[start].tolist())
        total, factor, next_obs = expected(steps, obs, n_step)
        assert reward[i] == pytest.approx(total, abs=1e-6)
        assert discount[i] == pytest.approx(factor, rel=1e-6)
        assert ring.obs[following[i]].tolist() == next_obs
        assert int(ring.action[start]) == steps[obs][1]
        seen.add(obs)
    assert len(seen) == starts.size
    if capacity == 1000:
        # Every transition is there, and where each iteration cut or ended it, so is its tail.
        assert seen == set(steps)
        assert ring.stored.sum() == len(steps)
    else:
        assert_newest(runner, seen, steps, n_step)


def assert_newest(runner: Runner, seen: set, steps: dict, n_step: int) -> None:
    """The starts of each column are its newest transitions, all that its rows can hold."""
    ring = runner.memory.ring
    for column in range(ring.num_seeds * ring.num_envs):
        rows = slice(column * ring.rows, (column + 1) * ring.rows)
        kept = {tuple(obs) for obs in ring.obs[rows][ring.is_start[rows]].tolist()}
        closing = int((ring.end[rows] == CLOSING).sum())
        # Only closing rows and one row in preparation are no starts: the iteration's end made all tails so.
        assert ring.rows - closing - 1 <= len(kept) <= ring.rows - closing
        assert kept <= seen


@pytest.mark.parametrize("num_envs", [1, 3])
def test_samples_are_the_rows_of_their_seed(tmp_path, num_envs):
    """A batch of each seed holds transitions of that seed alone, all of them in the long run."""
    words = [
        *CLOCKS["steps"],
        "memory.capacity=1000",
        f"env.num_envs={num_envs}",
        "runner.learning_starts=10",
    ]
    runner, steps = play(tmp_path, [*words, "memory.reader.n_step=3"])
    batch = runner.memory.sample(4000).batch
    assert batch.obs.shape == (2, 4000, 3)
    assert batch.action.dtype == torch.int64
    per_seed = [{tuple(obs) for obs in batch.obs[k].tolist()} for k in range(2)]
    assert not per_seed[0] & per_seed[1]
    assert per_seed[0] | per_seed[1] == set(steps)
    for k in range(2):
        for i in range(50):
            total, discount, following = expected(steps, tuple(batch.obs[k, i].tolist()), 3)
            assert batch.reward[k, i].item() == pytest.approx(total, abs=1e-6)
            assert batch.discount[k, i].item() == pytest.approx(discount, rel=1e-6)
            assert batch.next_obs[k, i].tolist() == following


def spec(shape: tuple[int, ...] = (), dtype: type = np.float32, actions: int = 2) -> EnvSpec:
    return EnvSpec(ObsSpec(shape, np.dtype(dtype), 0, 1.0), actions, None)


def push(
    ring: Ring, obs: float, *, terminated: bool = False, truncated: bool = False, life_lost: bool = False
) -> None:
    def full(value, dtype):
        return np.full((1, 1), value, dtype)

    row = Row(
        *(full(obs, np.float32), full(0, np.int64), full(obs, np.float32), full(obs + 1, np.float32)),
        *(full(terminated, bool), full(truncated, bool), full(life_lost, bool), full(True, bool)),
    )
    ring.push([row])


def test_a_start_needs_its_whole_window():
    """By hand: three steps, n = 3, rows 0 to 4, then an end."""
    ring = Ring(capacity=8, span=3, num_seeds=1, num_envs=1, spec=spec())
    starts = []
    for obs in range(4):
        push(ring, obs)
        starts.append(np.flatnonzero(ring.is_start).tolist())
    assert starts == [[], [], [0], [0, 1]]
    push(ring, 4, terminated=True)
    assert np.flatnonzero(ring.is_start).tolist() == [0, 1, 2, 3, 4]
    reward, discount, following = NStep(n_step=3, gamma=0.5)(ring, np.array([[1, 2, 3, 4]]))
    np.testing.assert_allclose(reward, [[1 + 1 + 0.75, 2 + 1.5 + 1, 3 + 2, 4]])
    np.testing.assert_allclose(discount, [[0.125, 0, 0, 0]])
    assert ring.obs[following].tolist() == [[4, 5, 5, 5]]


def test_wrap_around_drops_the_oldest_first():
    """By hand: five rows, of which the next one is always free; a closing row takes one too."""
    ring = Ring(capacity=5, span=1, num_seeds=1, num_envs=1, spec=spec())
    held = []
    for obs in range(8):
        push(ring, 10 * obs, truncated=obs == 3)
        held.append(sorted(ring.obs[ring.is_start].tolist()))
    assert held[:4] == [[0], [0, 10], [0, 10, 20], [0, 10, 20, 30]]
    assert held[4:] == [[20, 30, 40], [30, 40, 50], [40, 50, 60], [40, 50, 60, 70]]


def test_one_step_reader_is_the_row():
    ring = Ring(capacity=20, span=1, num_seeds=1, num_envs=1, spec=spec())
    for obs in range(6):
        push(ring, obs, terminated=obs == 2, truncated=obs == 4)
    starts = np.flatnonzero(ring.is_start)[None]
    reward, discount, following = NStep(n_step=1, gamma=0.9)(ring, starts)
    np.testing.assert_array_equal(reward, ring.reward[starts])
    np.testing.assert_allclose(discount[0], [0.9, 0.9, 0, 0.9, 0.9, 0.9])
    np.testing.assert_array_equal(ring.obs[following], ring.obs[starts] + 1)


def test_uniform_sampler_is_uniform_over_starts():
    """Short episodes: half of the rows are closing rows, and still every start is equally likely."""
    ring = Ring(capacity=200, span=1, num_seeds=1, num_envs=1, spec=spec())
    for obs in range(60):
        push(ring, obs, terminated=obs % 2 == 0 or obs > 40)
    sampler = Uniform(ring=ring, seeds=[0])
    counts = np.bincount(sampler.sample(60_000)[0][0], minlength=ring.is_start.size)
    assert (counts[~ring.is_start] == 0).all()
    chi_squared = ((counts[ring.is_start] - 1000) ** 2 / 1000).sum()
    assert 30 < chi_squared < 110  # 59 degrees of freedom: both ends are beyond 1 in 10,000


def test_uniform_sampler_finds_rare_starts():
    ring = Ring(capacity=1000, span=400, num_seeds=1, num_envs=1, spec=spec())
    for obs in range(402):
        push(ring, obs)
    assert np.flatnonzero(ring.is_start).tolist() == [0, 1, 2]
    counts = np.bincount(Uniform(ring=ring, seeds=[0]).sample(3000)[0][0], minlength=3)
    assert counts.size == 3
    assert counts.min() > 850


def test_columns_push_independently():
    """A column that waits keeps its place; each has its own head."""
    ring = Ring(capacity=6, span=1, num_seeds=2, num_envs=1, spec=spec())
    for step in range(5):
        active = np.array([[True], [step % 2 == 0]])
        obs = np.array([[step], [100 + step]], np.float32)
        ended = np.array([[step == 1], [False]])
        no = np.zeros_like(ended)
        ring.push([Row(obs, np.zeros((2, 1), int), obs, obs + 1, ended, no, no, active)])
    assert ring.stored.tolist() == [5, 3]
    assert sorted(ring.obs[:6][ring.is_start[:6]].tolist()) == [1, 2, 3, 4]
    assert sorted(ring.obs[6:][ring.is_start[6:]].tolist()) == [100, 102, 104]


def test_state_survives_a_round_trip(tmp_path):
    def memory() -> ReplayMemory:
        return ReplayMemory(
            capacity=30,
            reader=lambda **words: NStep(n_step=2, **words),
            sampler=Uniform,
            gamma=0.9,
            spec=spec(),
            seeds=[1],
            num_envs=1,
            device=torch.device("cpu"),
            network=FEED_FORWARD,
        )

    first, second = memory(), memory()
    for obs in range(47):
        push(first.ring, obs, terminated=obs % 5 == 4)
    first.sample(3)
    pass_on(first, second, tmp_path)
    for obs in range(47, 60):
        for one in (first, second):
            push(one.ring, obs, truncated=obs % 4 == 0)
        for ours, theirs in zip(*(one.sample(8).batch.tensors() for one in (first, second)), strict=True):
            assert torch.equal(ours, theirs)
    assert np.array_equal(first.ring.is_start, second.ring.is_start)


def test_cartpole_row_is_small():
    cartpole = EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), 2, 500)
    ring = Ring(capacity=100, span=1, num_seeds=1, num_envs=1, spec=cartpole)
    assert ring.bytes_per_row <= 32


def test_recorder_makes_different_observations():
    """The tests above rest on this."""
    env = Recorder("unused")
    assert env.reset(seed=1)[0].tolist() != env.reset(seed=2)[0].tolist()
