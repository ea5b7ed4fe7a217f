"""Hashes of everything that small runs compute: they show whether a change of the code changes any number.

`python tests/golden.py` trains the runs and records their hashes in tests/golden.json for this machine type:
the last bits of a product depend on the processor and on the versions of the libraries.
"""

import hashlib
import json
import platform
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import dqn

FILE = Path(__file__).with_suffix(".json")
USER = Path(__file__).parent / "user"

EPISODES = ["runner.total_episodes=60", "runner.iteration_length=20", "runner.learning_starts=200"]
STEPS = [
    "runner=steps",
    "runner.total_steps=800",
    "runner.iteration_length=400",
    "runner.learning_starts=100",
    "runner.train_period=4",
    "runner.updates_per_train=1",
    "runner.target_period=100",
    "runner.target_tau=1.0",
]
DECAY = ["schedule.start=1.0", "schedule.end=0.05", "schedule.duration=10000"]
SMALL = [
    "runner.batch_size=32",
    "network.torso.hidden_sizes=[32]",
    "runner.eval_period=1",
    "runner.eval_episodes=3",
    "memory.capacity=50000",
]

RUNS = {
    "dqn": [*EPISODES, *SMALL],
    "rainbow": ["agent=rainbow", *STEPS, *SMALL],
    "iqn": ["agent=iqn", *STEPS, *DECAY, *SMALL],
    "prioritized": [
        "agent=prioritized",
        "memory/reader=n_step",
        "num_seeds=3",
        "env.num_envs=2",
        *STEPS,
        *DECAY,
        *SMALL,
        "memory.capacity=300",
    ],
    "compiled": ["agent=double", "agent.compile=true", "num_seeds=2", *STEPS, *DECAY, *SMALL],
    "user": ["+experiment=corridor", "runner.updates_per_train=1"],
    "munchausen": [
        "agent=m_qrdqn",
        *("env=document", "env.id=FrozenLake-v1", "env.reward_scale=1.0"),
        "agent/optimizer=rmsprop",
        "num_seeds=2",
        *STEPS,
        *DECAY,
        *SMALL,
    ],
    "dueling": [
        "agent=dueling_double",
        *("env=document", "env.id=Acrobot-v1"),
        "env.vectorization=async",
        "env.num_envs=2",
        "agent.max_grad_norm=0.5",
        "runner.eval_epsilon=0.1",
        *STEPS,
        *DECAY,
        *SMALL,
    ],
}
"""Overrides of each run."""


def machine() -> str:
    """Return the processor and the versions, on which the last bits depend."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    packages = [f"{package} {version(package)}" for package in ("torch", "numpy", "gymnasium")]
    return ", ".join([name or platform.machine(), torch.backends.cpu.get_cpu_capability(), *packages])


def digest(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


def hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of a run's parameters (regardless of their names), metrics and evaluation."""
    (file,) = folder.glob("checkpoint/policy*.pt")
    leaves = torch.load(file, weights_only=True)
    status = json.loads((folder / "status.json").read_text())
    lines = [
        {tag: value for tag, value in json.loads(line).items() if not tag.startswith("time/")}
        for path in sorted(folder.glob("seed=*/metrics.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return {
        "parameters": digest(
            sorted(np.ascontiguousarray(leaf.numpy()).tobytes() for leaf in leaves.values())
        ),
        "metrics": digest(json.dumps(line, sort_keys=True).encode() for line in lines),
        "evaluation": digest([json.dumps([status["evaluation"], status["result"]], sort_keys=True).encode()]),
    }


def train(name: str, folder: Path) -> dict[str, str]:
    """Train one of the runs in `folder` and return its hashes."""
    if str(USER) not in sys.path:
        sys.path.append(str(USER))
    run = dqn.train([*RUNS[name], f"hydra.run.dir={folder}"], config_dir=USER / "my_conf")
    return hashes(run.folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: train(name, Path(folder) / name) for name in RUNS}
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    FILE.write_text(json.dumps(recorded | {machine(): found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
