"""Stable-Baselines3's replay buffer: microseconds of one push and of one sample.

replay_sb3.py ROWS BATCH COUNT: the mean of COUNT calls on a full buffer with CartPole's spaces.
"""

import json
import sys

import gymnasium
import numpy as np
from common import timed
from stable_baselines3.common.buffers import ReplayBuffer

rows, batch, count = map(int, sys.argv[1:])
env = gymnasium.make("CartPole-v1")
buffer = ReplayBuffer(rows, env.observation_space, env.action_space, device="cpu")
obs = np.random.default_rng(0).standard_normal((2, 1, 4)).astype(np.float32)
action, reward, done = np.zeros(1, np.int64), np.ones(1, np.float32), np.zeros(1, np.bool_)
infos = [{"TimeLimit.truncated": False}]


def push(times: int) -> None:
    for _ in range(times):
        buffer.add(obs[0], obs[1], action, reward, done, infos)


def sample(times: int) -> None:
    for _ in range(times):
        buffer.sample(batch)


push(rows)
sample(10)
costs = {"push": timed(lambda: push(count)), "sample": timed(lambda: sample(count))}
print(json.dumps({name: seconds / count * 1e6 for name, seconds in costs.items()}))
