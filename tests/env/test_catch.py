"""Catch: its rules, its seeds and its pictures."""

import gymnasium
import numpy as np
import pytest

from dqn.env.catch import PIXELS, SIZE


def follow(target: int) -> tuple[list[float], bool]:
    """Return the rewards of an episode whose paddle moves to a column, and whether the ball fell there."""
    env = gymnasium.make("Catch-v0", render_mode="rgb_array")
    obs, _ = env.reset(seed=3)
    assert obs[0].sum() == obs[-1, SIZE // 2, 0] == 1
    column, paddle, rewards, terminated = int(obs[0].argmax()), SIZE // 2, [], False
    while not terminated:
        obs, reward, terminated, truncated, _ = env.step(int(np.sign(target - paddle)) + 1)
        paddle += int(np.sign(target - paddle))
        rewards.append(float(reward))
        assert not truncated
        assert env.observation_space.contains(obs)
        assert obs[len(rewards), column, 0] == obs[-1, paddle, 0] == 1
        assert obs.sum() == 2 - (terminated and paddle == column)
    picture = env.render()
    assert picture.shape == (SIZE * PIXELS, SIZE * PIXELS, 3)
    assert (picture[::PIXELS, ::PIXELS, :1] == 255 * obs).all()
    env.close()
    return rewards, column == target


def test_the_ball_is_caught_in_one_column_alone():
    results = [follow(target) for target in range(SIZE)]
    assert all(rewards == [0.0] * (SIZE - 2) + [1.0 if there else -1.0] for rewards, there in results)
    assert sum(there for _, there in results) == 1


@pytest.mark.parametrize("action", [0, 2])
def test_the_paddle_stays_on_the_board(action):
    env = gymnasium.make("Catch-v0")
    env.reset(seed=0)
    for _ in range(SIZE - 1):
        obs, *_ = env.step(action)
    assert obs[-1, (SIZE - 1) * (action // 2), 0] == 1


def test_balls_fall_everywhere():
    env = gymnasium.make("Catch-v0")
    assert {int(env.reset(seed=seed)[0][0].argmax()) for seed in range(100)} == set(range(SIZE))
