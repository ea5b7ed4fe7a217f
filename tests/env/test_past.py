"""Tasks that need memory: their rules, and the numbers of observations that a wrapper keeps."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dqn.env import SomeNumbers
from dqn.env.cue_chain import CueChain
from dqn.env.t_maze import EAST, NORTH, SOUTH, WEST, TMaze


@pytest.mark.parametrize("steps", [0, 1, 10])
def test_the_cue_is_seen_once_and_the_last_action_answers_it(steps):
    env, cues = CueChain(steps=steps), []
    for seed in range(10):
        for answer in (0, 1):
            first, _ = env.reset(seed=seed)
            assert abs(first[0]) == 1.0
            assert first[1] == 0.0
            for step in range(steps + 1):
                obs, reward, terminated, truncated, _ = env.step(int(env.np_random.integers(2)))
                assert (reward, terminated, truncated) == (0.0, False, False)
                assert env.observation_space.contains(obs)
                assert obs.tolist() == [0.0, float(step == steps)]
            _, reward, terminated, _, _ = env.step(answer)
            assert terminated
            assert reward == first[0] * (2 * answer - 1)
        cues.append(float(first[0]))
    assert set(cues) == {-1.0, 1.0}


def walk(env: TMaze, actions: list[int]) -> list[tuple[list[float], float, bool]]:
    return [(obs.tolist(), reward, terminated) for obs, reward, terminated, *_ in map(env.step, actions)]


@pytest.mark.parametrize("length", [1, 2, 10])
def test_the_right_turn_is_the_one_of_the_sign(length):
    env, signs = TMaze(length=length), []
    for seed in range(10):
        for turn in (NORTH, SOUTH):
            sign, _ = env.reset(seed=seed)
            steps = walk(env, [EAST] * length + [turn])
            inside = [([1.0, 0.0, 1.0], 0.0, False)] * (length - 1)
            right = turn == (NORTH if sign[0] == 0.0 else SOUTH)
            junction = [0.0, 1.0, 0.0]
            end = (junction, 4.0 if right else -0.1, True)
            assert steps == [*inside, (junction, 0.0, False), end]
        signs.append(tuple(sign.tolist()))
    assert set(signs) == {(0.0, 1.0, 1.0), (1.0, 1.0, 0.0)}


def test_walls_of_the_maze_stop_and_cost():
    env = TMaze(length=2)
    sign = env.reset(seed=0)[0].tolist()
    inside, junction = [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]
    at_start = walk(env, [NORTH, SOUTH, WEST])
    assert at_start == [(sign, -0.1, False)] * 3
    further = walk(env, [EAST, NORTH, WEST, EAST, EAST, EAST])
    places = [(inside, 0.0), (inside, -0.1), (sign, 0.0), (inside, 0.0), (junction, 0.0), (junction, -0.1)]
    assert further == [(obs, reward, False) for obs, reward in places]


def test_some_numbers_of_an_observation_are_kept_in_order():
    env, whole = SomeNumbers(gymnasium.make("CartPole-v1"), indices=[2, 0]), gymnasium.make("CartPole-v1")
    assert np.array_equal(env.observation_space.high, whole.observation_space.high[[2, 0]])
    pairs = [(env.reset(seed=1)[0], whole.reset(seed=1)[0]), (env.step(1)[0], whole.step(1)[0])]
    for some, every in pairs:
        assert np.array_equal(some, every[[2, 0]])
        assert env.observation_space.contains(some)


@pytest.mark.parametrize("indices", [[], [4], [-1], [0.5], [True]])
def test_numbers_that_an_observation_lacks_are_refused(indices):
    with pytest.raises(ValueError, match="should be numbers from 0 to 3, at least one"):
        SomeNumbers(gymnasium.make("CartPole-v1"), indices=indices)


def test_observations_of_other_forms_are_refused():
    env = gymnasium.make("CartPole-v1")
    env.observation_space = spaces.Discrete(3)
    with pytest.raises(ValueError, match="it should have a Box of one axis, not Discrete"):
        SomeNumbers(env, indices=[0])
