"""Prioritized replay: what it draws, what that weighs, and that it is what a list of priorities would do."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from helpers import TINY_EPISODES, TINY_STEPS, config_of, make_runner
from records import pass_on, same
from reference import PriorityList

from dqn.errors import UserError
from dqn.memory import NStep, Prioritized, ReplayMemory, Uniform
from dqn.memory.sum_tree import Tree
from dqn.schedule import Constant, Linear
from dqn.types import FEED_FORWARD, EnvSpec, Integers, ObsSpec, Row

SPEC = EnvSpec(ObsSpec((), np.dtype(np.float32), 0, 1.0), 2, None)


def memory(
    *, capacity: int = 16, seeds: tuple[int, ...] = (0,), num_envs: int = 1, n_step: int = 1, **keys: Any
) -> ReplayMemory:
    keys = {"alpha": 1.0, "beta": Constant(value=1.0), "epsilon": 1e-300, "max_weight": "batch", **keys}
    return ReplayMemory(
        capacity=capacity,
        reader=partial(NStep, n_step=n_step),
        sampler=partial(Prioritized, **keys),
        gamma=0.9,
        spec=SPEC,
        seeds=seeds,
        num_envs=num_envs,
        device=torch.device("cpu"),
        network=FEED_FORWARD,
    )


class Play:
    """Pushes transitions whose observations are all different, with random ends and pauses."""

    def __init__(self, shape: tuple[int, int], *, pauses: bool, seed: int = 5) -> None:
        self.random = np.random.default_rng(seed)
        self.shape, self.pauses = shape, pauses
        self.obs = np.arange(1.0, 1.0 + shape[0] * shape[1], dtype=np.float32).reshape(shape)

    def push(self, memory: ReplayMemory, count: int) -> None:
        for _ in range(count):
            terminated, truncated = self.random.random((2, *self.shape)) < 0.08
            active = self.random.random(self.shape) < (0.6 if self.pauses else 1)
            following = np.where(active, self.obs + self.obs.size, self.obs)
            memory.push(
                Row(
                    *(self.obs, np.zeros(self.shape, np.int64), np.ones(self.shape, np.float32), following),
                    *(terminated & active, truncated & active & ~terminated, active & False, active),
                )
            )
            again = (terminated | truncated) & active  # the next episode begins elsewhere
            self.obs = np.where(again, following + self.obs.size, following)


def push(memory: ReplayMemory, count: int = 1) -> None:
    """Store steps of one long episode."""
    first = int(stored(memory).max())
    ones = np.ones((memory.ring.num_seeds, memory.ring.num_envs))
    for obs in range(first, first + count):
        steps = (ones * obs).astype(np.float32), ones.astype(int), ones, (ones * obs + 1).astype(np.float32)
        memory.push(Row(*steps, ones < 0, ones < 0, ones < 0, ones > 0))
    assert memory.ring.is_start.reshape(memory.ring.num_seeds, -1).any(-1).all()


def stored(memory: ReplayMemory) -> Integers:
    """Return how many transitions each seed has ever stored [K]."""
    ring = memory.ring
    return ring.stored.reshape(-1, ring.num_envs).sum(-1)


def at(*rows: int) -> Integers:
    return np.array([rows])


def chances(memory: ReplayMemory) -> np.ndarray:
    """Return the probability of each row of the first seed, by the leaves."""
    leaves = memory.sampler.tree.leaves[0]
    return leaves / leaves.sum()


# The tree


def sums(values: Any) -> Tree:
    values = np.atleast_2d(np.asarray(values, float))
    tree = Tree(ufunc=np.add, empty=0.0, num_seeds=values.shape[0], size=values.shape[1])
    tree.leaves[:] = values
    tree.rebuild()
    return tree


def test_find_by_hand():
    tree = sums([1, 2, 0, 3, 4])
    found = tree.find(np.array([[0, 0.05, 0.1, 0.25, 0.3, 0.55, 0.6, 0.99, 1]]))
    assert found.tolist() == [[0, 0, 1, 1, 3, 3, 4, 4, 4]]


@pytest.mark.parametrize("size", [1, 2, 5, 100, 4096, 4097, 9000, 40_000])
def test_find_is_the_search_in_the_cumulated_sums(size):
    """Whole numbers, whose sums are exact, a third of them 0; several seeds, each in its own leaves."""
    random = np.random.default_rng(size)
    values = random.integers(0, 3, (3, size)) * random.integers(1, 9, (3, size))
    values[:, size // 2] = 1
    tree = sums(values)
    fraction = np.concatenate((random.random((3, 500)), np.zeros((3, 1)), np.ones((3, 1))), 1)
    found = tree.find(fraction) - np.arange(3)[:, None] * tree.stride
    for k in range(3):
        cumulated = np.cumsum(values[k])
        target = np.minimum(fraction[k] * cumulated[-1], np.nextafter(float(cumulated[-1]), 0))
        np.testing.assert_array_equal(found[k], np.searchsorted(cumulated, target, "right"))
    assert (values[np.arange(3)[:, None], found] > 0).all()


@pytest.mark.parametrize("size", [3, 50, 9000, 70_000])
@pytest.mark.parametrize("seed", range(4))
def test_no_rounding_leads_to_an_empty_leaf(size, seed):
    """Sizes from the smallest number to 1e300, most leaves 0; and every border, from both sides."""
    random = np.random.default_rng(seed)
    values = 10.0 ** random.uniform(*[(-300, 300), (-1, 1), (-16, 16), (-324, -300)][seed], size)
    values[random.random(size) < 0.7] = 0.0
    values[random.integers(size, size=2)] = 5e-324
    tree = sums(values)
    borders = np.cumsum(values)[random.integers(size, size=2000)] / np.cumsum(values)[-1]
    borders = np.concatenate((borders, np.nextafter(borders, 0), np.nextafter(borders, 2), [0, 1]))
    found = tree.find(np.clip(borders, 0, 1)[None])
    assert (tree.levels[0][found] > 0).all()


def test_what_is_left_can_be_rounded_up_to_the_whole():
    """By hand, with u = 2^-52: 1.5u + 1.5 is 1.5 + 2u, below which lies 1.5 + u, which less 1.5u is 1.5."""
    tree = sums([1.5 * 2**-52, 0, 1.5, 0])
    assert tree.find(np.array([[1.0]])).item() == 2


@pytest.mark.parametrize(("ufunc", "empty"), [(np.add, 0.0), (np.minimum, np.inf)])
def test_levels_depend_on_the_leaves_alone(ufunc, empty):
    """Bit for bit the tree built at once, whatever was set before; a seed's part is its tree alone."""
    random = np.random.default_rng(1)
    tree = Tree(ufunc=ufunc, empty=empty, num_seeds=3, size=20_000)
    for _ in range(50):
        index = random.integers(20_000, size=(3, 200))
        tree.set(index + np.arange(3)[:, None] * tree.stride, random.random((3, 200)) ** 9)
    for k in (None, 0, 2):
        leaves = tree.leaves if k is None else tree.leaves[k : k + 1]
        anew = Tree(ufunc=ufunc, empty=empty, num_seeds=leaves.shape[0], size=20_000)
        anew.leaves[:] = leaves
        anew.rebuild()
        for ours, theirs in zip(tree.levels, anew.levels, strict=True):
            part = ours.reshape(3, -1)[slice(None) if k is None else slice(k, k + 1)]
            assert part.tobytes() == theirs.tobytes()
        np.testing.assert_allclose(ufunc.reduce(anew.top, axis=1), ufunc.reduce(leaves, axis=1))


def test_the_last_of_several_values_stays():
    tree = sums([1, 1, 1])
    tree.set(np.array([[1, 2, 1]]), np.array([[5.0, 6.0, 7.0]]))
    assert tree.leaves.tolist() == [[1, 7, 6]]
    assert tree.top.sum() == 14


# The sampler, by hand


def test_probabilities_by_hand():
    m = memory(alpha=0.5)
    push(m, 3)
    m.update_priorities(at(0, 1, 2), np.array([[1, 4, -9]], np.float32))
    np.testing.assert_allclose(chances(m)[:4], [1 / 6, 2 / 6, 3 / 6, 0], rtol=1e-6)


@pytest.mark.parametrize(("max_weight", "expected"), [("batch", [1, 0.5]), ("buffer", [0.1, 0.05])])
def test_weights_by_hand(max_weight, expected):
    """By hand: N = 3, P = (1, 100, 200) / 301, beta = 1; of the batch's two starts the rare one is none."""
    m = memory(max_weight=max_weight, beta=Constant(value=0.5))
    push(m, 3)
    m.update_priorities(at(0, 1, 2), np.array([[1, 100, 400]], np.float32))
    index, weight = m.sampler.sample(2)
    while set(index[0].tolist()) != {1, 2}:
        index, weight = m.sampler.sample(2)
    np.testing.assert_allclose(weight[0], np.array(expected)[index[0] - 1], rtol=1e-6)
    assert weight.dtype == np.float32


def test_beta_counts_the_transitions_of_each_seed():
    """By hand: one seed has stored 2 transitions, the other 8; priorities 1 and 4 in both."""
    m = memory(seeds=(0, 1), beta=Linear(start=0.0, end=1.0, duration=8))
    for step in range(8):
        ones = np.ones((2, 1))
        obs = (ones * step).astype(np.float32)
        active = np.array([[step < 2], [True]])
        m.push(Row(obs, ones.astype(int), ones, obs + 1, ones < 0, ones < 0, ones < 0, active))
    assert stored(m).tolist() == [2, 8]
    m.update_priorities(np.array([[0] * 7 + [1], range(16, 24)]), np.array([[1] * 7 + [4]] * 2, float))
    index, weight = m.sampler.sample(4)
    while {1, 23} - set(index.ravel().tolist()) or {0} - set(index[0].tolist()):
        index, weight = m.sampler.sample(4)
    np.testing.assert_allclose(weight[0], np.where(index[0] == 1, 4**-0.25, 1), rtol=1e-6)
    np.testing.assert_allclose(weight[1], np.where(index[1] == 23, 4**-1.0, 1), rtol=1e-6)


def test_new_rows_get_the_largest_priority_so_far():
    m = memory(epsilon=0.5)
    push(m, 2)
    assert m.sampler.tree.leaves[0, :3].tolist() == [1, 1, 0]
    m.update_priorities(at(0), np.array([[0.25]]))
    push(m)
    assert m.sampler.tree.leaves[0, :4].tolist() == [0.75, 1, 1, 0]
    m.update_priorities(at(0), np.array([[5.5]]))
    m.update_priorities(at(0), np.array([[0.0]]))
    push(m)
    assert m.sampler.tree.leaves[0, :5].tolist() == [0.5, 1, 1, 6, 0]


def test_overwritten_rows_are_forgotten():
    """By hand: five rows, of which one is always free."""
    m = memory(capacity=5)
    push(m, 4)
    m.update_priorities(at(0, 1, 2, 3), np.array([[8.0, 4.0, 2.0, 1.0]]))
    assert m.sampler.tree.leaves.tolist() == [[8, 4, 2, 1, 0]]
    push(m)
    assert m.sampler.tree.leaves.tolist() == [[0, 4, 2, 1, 8]]
    m.update_priorities(at(0, 1), np.array([[3.0, 3.0]]))  # of a sample that was drawn before
    assert m.sampler.tree.leaves.tolist() == [[0, 3, 2, 1, 8]]
    push(m, 2)
    assert m.sampler.tree.leaves.tolist() == [[8, 8, 0, 1, 8]]


def test_of_equal_starts_the_last_counts():
    m = memory()
    push(m, 3)
    m.update_priorities(at(1, 0, 1, 1), np.array([[9.0, 3.0, 8.0, 2.0]]))
    assert m.sampler.tree.leaves[0, :3].tolist() == [3, 2, 1]
    push(m)
    assert m.sampler.tree.leaves[0, 3] == 9


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_what_is_not_finite_changes_nothing(wrong, alpha):
    m = memory(alpha=alpha)
    push(m, 3)
    before = m.sampler.state_dict()
    with pytest.raises(ValueError, match="finite"):
        m.update_priorities(at(0, 1), np.array([[2.0, wrong]]))
    same(m.sampler.state_dict(), before)


def test_exponent_0_is_uniform():
    m = memory(alpha=0.0, capacity=100, beta=Constant(value=0.7))
    push(m, 60)
    m.update_priorities(np.arange(60)[None], np.random.default_rng(0).random((1, 60)))
    index, weight = m.sampler.sample(6000)
    counts = np.bincount(index[0], minlength=100)
    assert (counts[60:] == 0).all()
    assert (abs(counts[:60] - 100) < 2).all()
    assert (weight == 1).all()


# The sampler, by chance


def prioritized(count: int = 60) -> ReplayMemory:
    m = memory(alpha=0.6, capacity=100)
    push(m, count)
    m.update_priorities(np.arange(count)[None], np.random.default_rng(3).exponential(size=(1, count)))
    return m


def test_rows_are_drawn_by_their_probabilities():
    m = prioritized()
    draws = [m.sampler.sample(1)[0].item() for _ in range(20_000)]
    expected = chances(m)[:60] * 20_000
    chi_squared = ((np.bincount(draws, minlength=60) - expected) ** 2 / expected).sum()
    assert 30 < chi_squared < 110  # 59 degrees of freedom: both ends are beyond 1 in 10,000


def test_a_batch_is_drawn_from_equal_ranges():
    """So a start's count is off by less than 2: only the ranges at its two ends are left to chance."""
    m = prioritized()
    for batch_size in (64, 1000, 30_000):
        counts = np.bincount(m.sampler.sample(batch_size)[0][0], minlength=100)
        assert (abs(counts - chances(m) * batch_size) < 2).all()


# The sampler against a list of priorities


@pytest.mark.parametrize(
    ("num_envs", "pauses"), [(1, False), (3, False), (1, True)], ids=["1", "3", "episodes"]
)
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("max_weight", ["batch", "buffer"])
@pytest.mark.parametrize("size", [(31, 9), (1500, 400)], ids=["small", "large"])
def test_a_list_of_priorities_does_the_same(num_envs, pauses, n_step, max_weight, size):
    capacity, most_pushed = size
    keys = {
        "alpha": 0.7,
        "beta": Linear(start=0.4, end=1.0, duration=1000),
        "epsilon": 0.01,
        "max_weight": max_weight,
    }
    seeds = (3, 8)
    m = memory(capacity=capacity, seeds=seeds, num_envs=num_envs, n_step=n_step, **keys)
    twins = [PriorityList(seed, **keys) for seed in seeds]
    play, random = Play((2, num_envs), pauses=pauses), np.random.default_rng(2)
    play.push(m, 30)
    for _ in range(40):
        play.push(m, int(random.integers(most_pushed)))
        counts = stored(m)
        for k, twin in enumerate(twins):
            twin.now(starts_of(m, k), int(counts[k]))
        for _ in range(random.integers(1, 4)):
            batch_size = int(random.integers(1, 40))
            sample = m.sample(batch_size)
            errors = random.standard_normal((2, batch_size)).astype(np.float32) * random.choice([0.1, 1, 9])
            for k, twin in enumerate(twins):
                drawn, weights = twin.sample(batch_size)
                assert sample.batch.obs[k].tolist() == drawn
                np.testing.assert_allclose(sample.weight[k], weights, rtol=1e-5)
                twin.update(drawn, errors[k].tolist())
            m.update_priorities(sample.row, errors)
        for k, twin in enumerate(twins):
            of = slice(k * m.ring.is_start.size // 2, (k + 1) * m.ring.is_start.size // 2)
            leaves, is_start = m.sampler.tree.leaves[k], m.ring.is_start[of]
            assert (leaves[~is_start] == 0).all()
            held = [twin.priorities[obs] ** 0.7 for obs in m.ring.obs[of][is_start].tolist()]
            np.testing.assert_allclose(leaves[is_start], held, rtol=1e-12)
    assert (stored(m) > capacity).all()


def starts_of(m: ReplayMemory, k: int) -> list[float]:
    """Return the observations at a seed's starts, by row."""
    rows = m.ring.num_envs * m.ring.rows
    of = slice(k * rows, (k + 1) * rows)
    return m.ring.obs[of][m.ring.is_start[of]].tolist()


# Its state, and whole runs


@pytest.mark.parametrize("max_weight", ["batch", "buffer"])
@pytest.mark.parametrize("steps", [20, 700])
def test_state_survives_a_round_trip(tmp_path, max_weight, steps):
    def make() -> ReplayMemory:
        return memory(capacity=400, seeds=(1, 2), num_envs=2, n_step=2, alpha=0.6, max_weight=max_weight)

    def work(memories: list[ReplayMemory], play: Play, steps: int) -> None:
        for _ in range(steps // 10):
            play.push(memories[0], 10)
            for other in memories[1:]:
                other._pending._rows.extend(memories[0]._pending._rows)
            samples = [m.sample(33) for m in memories]
            errors = play.random.standard_normal((2, 33)).astype(np.float32)
            for m, sample in zip(memories, samples, strict=True):
                same([*sample.batch, sample.weight, sample.row], [*samples[0].batch, *samples[0][1:]])
                m.update_priorities(sample.row, errors)

    first, second, play = make(), make(), Play((2, 2), pauses=False)
    work([first], play, steps)
    pass_on(first, second, tmp_path)
    same(second.sampler.tree.levels, first.sampler.tree.levels)
    work([first, second], play, 900)
    same(second.state_dict(), first.state_dict())
    assert first.state_dict()["sampler"]["priorities"].nbytes == 8 * 2 * 400


@pytest.mark.parametrize("words", [TINY_STEPS, TINY_EPISODES], ids=["steps", "episodes"])
@pytest.mark.parametrize(
    "keys", [["num_seeds=2", "memory/reader=n_step"], ["memory.sampler.max_weight=buffer"]]
)
def test_a_run_keeps_the_tree_right(tmp_path, words, keys):
    """The priorities of a run are those that its updates gave, and its losses are weighted."""
    runner = make_runner(tmp_path, [*words, *keys, "memory=prioritized", "memory.capacity=150"])
    m, seen = runner.memory, []
    sample = m.sample

    def checked(batch_size: int) -> Any:
        drawn = sample(batch_size)
        assert m.ring.is_start[drawn.row].all()
        leaves = m.sampler.tree.leaves.ravel()
        assert ((leaves > 0) == m.ring.is_start).all()
        seen.append(float(drawn.weight.min()))
        return drawn

    m.sample = checked
    runner.run()
    assert min(seen) < 0.9
    assert np.unique(m.sampler.tree.leaves).size > 20


def test_a_loss_that_is_not_finite_ends_the_run_as_with_uniform_memory(tmp_path):
    runner = make_runner(tmp_path, [*TINY_STEPS, "memory=prioritized", "agent.lr=1e30"])
    with pytest.raises(UserError, match="loss of seed 0 is not finite"):
        runner.run()
    assert np.isfinite(runner.memory.sampler.tree.leaves).all()


def test_options_leave_nothing_behind():
    def sampler(*words: str) -> dict[str, Any]:
        return config_of(list(words))["memory"]["sampler"]

    assert sampler("memory=prioritized")["alpha"] == 0.6
    assert sampler("memory=prioritized_rainbow")["alpha"] == 0.5
    assert sampler("memory=uniform") == {"_target_": "dqn.memory.Uniform", "_partial_": True}
    assert config_of(["memory=prioritized", "memory/reader=n_step"])["memory"]["reader"]["n_step"] == 3
    beta = sampler("memory=prioritized")["beta"]
    assert (beta["start"], beta["end"], beta["duration"]) == (0.4, 1.0, 50_000)


def test_uniform_weights_are_1():
    m = memory()
    push(m, 5)
    uniform = Uniform(ring=m.ring, seeds=[0])
    for batch_size in (3, 8, 3):
        rows, weights = uniform.sample(batch_size)
        assert weights.shape == rows.shape == (1, batch_size)
        assert weights.dtype == np.float32
        assert (weights == 1).all()
