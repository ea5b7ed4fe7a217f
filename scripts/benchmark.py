"""What things cost, in CPU seconds of one thread, each beside what it is compared with, in one run.

python scripts/benchmark.py [update] [default] [seeds] [prioritized] [--repeats 5] [--quick]
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dqn.memory import ReplayMemory
    from dqn.types import Array

SCRIPTS = Path(__file__).parent
LIGHT = ["+experiment=cartpole_cleanrl", "runner.eval_episodes=0"]


def cpu_of(command: Sequence[str], folder: str) -> tuple[float, str]:
    """Run a command to its end; return its CPU seconds and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    words = [sys.executable, *command]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, done.stdout


def tell(name: str, ours: list[float], theirs: list[float], unit: str, target: float) -> None:
    """Print both sides' medians and the ratio pair by pair."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(
        f"{name}: ours {statistics.median(ours):.4g}, theirs {statistics.median(theirs):.4g} {unit};"
        f" ratio {middle:.2f} ({low:.2f} to {high:.2f}, {len(ratios)} pairs), target {target}",
        flush=True,
    )


def update(repeats: int, quick: bool) -> None:
    """One update of 4-120-84-2, batch 128, one seed, against the plain PyTorch update."""
    import numpy as np
    import torch

    from dqn.agent import Agent
    from dqn.backup import Greedy
    from dqn.network import MLP, ExpectedHead, Linear, QNetwork
    from dqn.optimizer import Adam
    from dqn.schedule import Constant
    from dqn.types import Batch, EnvSpec, ObsSpec, Sample

    torch.set_num_threads(1)
    agent = Agent(
        network=partial(
            QNetwork,
            torso=partial(MLP, hidden_sizes=[120, 84], layer_norm=False),
            head=partial(ExpectedHead, dueling=False, hidden_sizes=[], huber_delta=1.0),
            layer=Linear,
        ),
        backup=Greedy(),
        optimizer=partial(Adam, betas=(0.9, 0.999), eps=1e-8),
        lr=2.5e-4,
        lr_schedule=Constant(value=1.0),
        gamma=0.99,
        max_grad_norm=None,
        compile=False,
        planned_updates=0,
        spec=EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), 2, 500),
        seeds=[0],
        num_envs=1,
        device=torch.device("cpu"),
    )
    obs, next_obs = torch.randn(2, 1, 128, 4)
    action, done = torch.randint(2, (1, 128)), torch.rand(1, 128) < 0.05
    batch = Batch(obs, action, torch.ones(1, 128), 0.99 * ~done, next_obs)
    sample = Sample(batch, torch.ones(1, 128), np.zeros((1, 128), np.int64))

    def net() -> torch.nn.Sequential:
        sizes = torch.nn.Linear(4, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 2)
        return torch.nn.Sequential(sizes[0], torch.nn.ReLU(), sizes[1], torch.nn.ReLU(), sizes[2])

    online, target = net(), net()
    optimizer = torch.optim.Adam(online.parameters(), lr=2.5e-4)

    def plain() -> float:
        with torch.no_grad():
            best = target(next_obs[0]).max(dim=1).values
            y = torch.ones(128) + 0.99 * best * ~done[0]
        q = online(obs[0]).gather(1, action[0].unsqueeze(1)).squeeze(1)
        loss = torch.nn.functional.smooth_l1_loss(q, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    def time_of(call: Callable[[], object], count: int = 100 if quick else 500) -> float:
        start = time.process_time()
        for _ in range(count):
            call()
        return (time.process_time() - start) / count * 1e6

    pairs = [(time_of(lambda: agent.update(sample, 0)), time_of(plain)) for _ in range(2 * repeats + 1)][1:]
    ours, theirs = map(list, zip(*pairs, strict=True))
    tell("update, 4-120-84-2, batch 128, K = 1", ours, theirs, "us", 1.2)


def default(repeats: int, quick: bool) -> None:
    """The default experiment against the document's loop, whole processes: cost of a step, and returns."""
    episodes = 300 if quick else 3000
    ours, theirs = [], []
    print("seed: best and last mean return of 100 episodes, ours; the document's loop", flush=True)
    for seed in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            words = [f"runner.total_episodes={episodes}", f"seed={seed}", "hydra.run.dir=run"]
            cpu, _ = cpu_of([str(SCRIPTS / "train.py"), *words], folder)
            lines = (Path(folder) / "run" / f"seed={seed}" / "metrics.jsonl").read_text().splitlines()
        metrics = [json.loads(line) for line in lines]
        ours.append(cpu / metrics[-1]["step"] * 1e6)
        best, last = best_and_last([line["train/return"] for line in metrics if "train/return" in line])
        loop = str(SCRIPTS / "document_loop.py")
        cpu, text = cpu_of([loop, "2", str(seed), str(episodes)], folder=str(SCRIPTS))
        _, _, their_last, _, _, their_best, _, steps = text.split()[-8:]
        theirs.append(cpu / int(steps) * 1e6)
        print(f"{seed}: {best:.1f} {last:.1f}; {float(their_best):.1f} {float(their_last):.1f}", flush=True)
    tell(f"default run, {episodes} episodes, per environment step", ours, theirs, "us", 0.5)


def best_and_last(returns: list[float], window: int = 100) -> tuple[float, float]:
    """Return the best and the last mean of `window` successive returns."""
    means = [statistics.fmean(returns[i : i + window]) for i in range(len(returns) - window + 1)]
    return max(means), means[-1]


def seeds(repeats: int, quick: bool) -> None:
    """Eight seeds in lock step against eight runs of one; whole processes, and the loops alone."""
    steps = 10_000 if quick else 30_000
    words = [*LIGHT, f"runner.total_steps={steps}"]
    whole: tuple[list[float], list[float]] = ([], [])
    loops: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            sums = [0.0, 0.0]
            for seed in range(8):
                cpu, loop = run_and_time([*words, f"seed={seed}"], folder, f"alone{seed}")
                sums = [sums[0] + cpu, sums[1] + loop]
            cpu, loop = run_and_time([*words, "num_seeds=8"], folder, "stack")
        for (ours, theirs), one, eight in ((whole, cpu, sums[0]), (loops, loop, sums[1])):
            ours.append(one)
            theirs.append(eight)
    tell(f"8 seeds, {steps} steps, whole processes", *whole, "s", 0.3)
    tell(f"8 seeds, {steps} steps, the loops alone", *loops, "s", 0.45)


def run_and_time(words: list[str], folder: str, name: str) -> tuple[float, float]:
    """Train in a process of its own; return the CPU seconds of all of it and of its loop."""
    cpu, text = cpu_of([__file__, "--loop", *words, f"hydra.run.dir={name}"], folder)
    return cpu, float(text.splitlines()[-1])


def timed_training(words: list[str]) -> None:
    """Train as scripts/train.py does, and print the CPU seconds of the loop."""
    from dqn import runner
    from dqn.config.cli import train

    run = runner.Runner.run
    spent = []

    def timed(self: runner.Runner) -> float:
        start = time.process_time()
        result = run(self)
        spent.append(time.process_time() - start)
        return result

    runner.Runner.run = timed  # type: ignore[method-assign]
    sys.argv[1:] = words
    train()
    print(spent[0])


def prioritized(repeats: int, quick: bool) -> None:
    """Prioritized sample of 256 and update of its priorities, against cpprb's buffer with the same rows."""
    if not importlib.util.find_spec("cpprb"):
        print('prioritized: needs cpprb, which is not installed: pip install "dqn[benchmark]"')
        return
    for rows in (10_000, 100_000) if quick else (10_000, 1_000_000):
        prioritized_rows(rows, 10 * repeats)


def prioritized_rows(rows: int, repeats: int, batch: int = 256) -> None:
    """Compare two memories that are full of the same rows."""
    import cpprb
    import numpy as np
    import torch

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    errors = np.abs(random.standard_normal((64, 1, batch))).astype(np.float32)
    obs, zeros = random.standard_normal((rows + 1, 4)).astype(np.float32), np.zeros(rows)
    memory = filled_memory(obs)
    fields = {
        "obs": {"shape": 4},
        "act": {"dtype": np.int64},
        "rew": {},
        "next_obs": {"shape": 4},
        "done": {},
    }
    buffer = cpprb.PrioritizedReplayBuffer(rows, fields, alpha=0.6, eps=1e-6)
    buffer.add(obs=obs[:-1], act=zeros.astype(int), rew=zeros, next_obs=obs[1:], done=zeros)

    def ours(error: "Array") -> None:
        memory.update_priorities(memory.sample(batch).place, error)

    def sampler(error: "Array") -> None:
        memory.sampler.update(memory.sampler.sample(batch)[0], error)

    def theirs(error: "Array") -> None:
        buffer.update_priorities(buffer.sample(batch, 0.4)["indexes"], error[0])

    def time_of(call: Callable[["Array"], None]) -> float:
        start = time.process_time()
        for error in errors:
            call(error)
        return (time.process_time() - start) / len(errors) * 1e6

    for i in range(3 * rows // batch):  # until most rows have a priority of their own
        ours(errors[i % len(errors)])
        theirs(errors[i % len(errors)])
    times = [[time_of(call) for call in (ours, sampler, theirs)] for _ in range(repeats)]
    whole, alone, other = map(list, zip(*times, strict=True))
    tell(f"prioritized, {rows} rows, sample and update of {batch}", whole, other, "us", 1.0)
    for name, side in (("ours", whole), ("our sampler alone", alone), ("theirs", other)):
        print(f"  {name}: {statistics.median(side):.1f} us ({min(side):.1f} to {max(side):.1f})")


def filled_memory(obs: "Array") -> "ReplayMemory":
    """Return a memory full of one long episode with these observations, as conf/memory/prioritized.yaml."""
    import numpy as np
    import torch

    from dqn.memory import NStep, Prioritized, ReplayMemory
    from dqn.schedule import Linear
    from dqn.types import EnvSpec, ObsSpec, Row

    memory = ReplayMemory(
        capacity=len(obs),
        reader=partial(NStep, n_step=1),
        sampler=partial(
            Prioritized,
            alpha=0.6,
            beta=Linear(start=0.4, end=1.0, duration=50_000),
            epsilon=1e-6,
            max_weight="batch",
        ),
        gamma=0.99,
        spec=EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), 2, None),
        seeds=[0],
        num_envs=1,
        device=torch.device("cpu"),
    )
    zero, no, yes = np.zeros((1, 1), np.int64), np.zeros((1, 1), bool), np.ones((1, 1), bool)
    for i in range(len(obs) - 1):
        memory.push(
            Row(obs[None, i : i + 1], zero, zero.astype(np.float32), obs[None, i + 1 : i + 2], no, no, yes)
        )
    return memory


def main() -> None:
    if sys.argv[1:2] == ["--loop"]:
        timed_training(sys.argv[2:])
        return
    parts = {"update": update, "default": default, "seeds": seeds, "prioritized": prioritized}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(parts)}; all if none")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of whole processes")
    parser.add_argument("--quick", action="store_true", help="smaller runs, to see that everything works")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(parts)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for name in arguments.parts or parts:
        parts[name](1 if arguments.quick else arguments.repeats, arguments.quick)


if __name__ == "__main__":
    main()
