"""This project's training, exactly as scripts/train.py does it; what it did is told as the peers do.

train_ours.py WORD ...: the words of scripts/train.py. Everything that a run writes is written: the lines of
metrics.jsonl and the TensorBoard events of every episode, and a checkpoint after every iteration.
"""

from common import tell, timed

from dqn.cli.main import train
from dqn.runner import Runner

run = Runner.run
"""The loop, with the checkpoints, and the closing of its files."""
trained: list[tuple[Runner, float]] = []


def timed_run(self: Runner) -> float:
    results: list[float] = []
    trained.append((self, timed(lambda: results.append(run(self)))))
    return results[0]


Runner.run = timed_run  # type: ignore[method-assign]
train()
counters, loop = trained[0][0].counters, trained[0][1]
tell(
    steps=int(counters.steps.sum()),
    updates=counters.updates * len(counters.seeds),
    loop=loop,
    returns=[value for recent in counters.recent for value in recent],
)
