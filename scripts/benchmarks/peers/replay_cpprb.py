"""cpprb's prioritized buffer: microseconds of a sample and of the update of its priorities, together.

replay_cpprb.py ROWS BATCH COUNT: the mean of COUNT calls on a full buffer of CartPole's transitions, most of
them with distinct priorities.
"""

import json
import sys

import cpprb
import numpy as np
from common import timed

rows, batch, count = map(int, sys.argv[1:])
random = np.random.default_rng(0)
fields = {"obs": {"shape": 4}, "act": {"dtype": np.int64}, "rew": {}, "next_obs": {"shape": 4}, "done": {}}
buffer = cpprb.PrioritizedReplayBuffer(rows, fields, alpha=0.6, eps=1e-6)
obs, zeros = random.standard_normal((rows + 1, 4)).astype(np.float32), np.zeros(rows)
buffer.add(obs=obs[:-1], act=zeros.astype(int), rew=zeros, next_obs=obs[1:], done=zeros)
errors = np.abs(random.standard_normal((64, batch))).astype(np.float32)


def learn(times: int) -> None:
    for i in range(times):
        buffer.update_priorities(buffer.sample(batch, 0.4)["indexes"], errors[i % len(errors)])


learn(3 * rows // batch)
print(json.dumps({"learn": timed(lambda: learn(count)) / count * 1e6}))
