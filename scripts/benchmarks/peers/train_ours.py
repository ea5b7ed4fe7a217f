"""This project's training, exactly as in scripts/train.py, with a report like the peers'.

train_ours.py OVERRIDE ...: the overrides of scripts/train.py. The run writes its usual files: metrics.jsonl
and TensorBoard events of every episode, and a checkpoint after every iteration.
"""

from common import report, timed

from dqn.cli.main import train
from dqn.runner import Runner

run = Runner.run
"""The original method: the loop with its checkpoints, and the closing of its files."""
trained: list[tuple[Runner, float]] = []


def timed_run(self: Runner) -> float:
    results: list[float] = []
    trained.append((self, timed(lambda: results.append(run(self)))))
    return results[0]


Runner.run = timed_run  # type: ignore[method-assign]
train()
counters, loop = trained[0][0].counters, trained[0][1]
report(
    steps=int(counters.steps.sum()),
    updates=counters.updates * len(counters.seeds),
    loop=loop,
    returns=[value for recent in counters.recent for value in recent],
)
