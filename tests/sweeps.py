"""Run folders made without training, for reports."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from helpers import config_of

from dqn.storage.folder import RunFolder

COMMAND = "python scripts/train.py -m agent.lr=1e-3,1e-4"


def base(*overrides: str) -> dict[str, Any]:
    """Return the configuration of a run of 10,000 steps."""
    return config_of(["runner=steps", "runner.total_steps=10000", "runner.iteration_length=1000", *overrides])


def make_run(
    folder: Path,
    config: dict[str, Any],
    *,
    level: float = 100.0,
    reached: float = 1.0,
    state: str = "finished",
    episodes: int = 60,
    overrides: Sequence[str] = (),
    **status: Any,
) -> Path:
    """Write a run whose returns grow to about `level`, stopped after the fraction `reached` of its steps."""
    total = config["runner"].get("total_steps", 10_000)
    finals = {}
    for seed in range(config["seed"], config["seed"] + config["num_seeds"]):
        rng = np.random.default_rng(seed)
        lines = []
        steps = np.linspace(0, total * reached, episodes + 1)[1:].astype(int)
        returns = level * steps / total * rng.uniform(0.5, 1.5, episodes)
        for i, (step, value) in enumerate(zip(steps.tolist(), returns.tolist(), strict=True)):
            line = {"step": step, "episode": i + 1, "update": step // 4, "train/return": value}
            if (i + 1) % 20 == 0:
                line["eval/return"] = value
            lines.append(json.dumps(line) + "\n")
        path = folder / f"seed={seed}"
        path.mkdir(parents=True)
        (path / "metrics.jsonl").write_text("".join(lines))
        finals[str(seed)] = [*(returns[-1:] + 1), *(returns[-1:] - 1)]
    RunFolder(folder).write_config(config, list(overrides))
    tick = int(total * reached)
    progress = {"unit": "step", "tick": tick, "total": total, "iteration": tick // 1000, "updates": tick}
    progress |= {"steps": [tick], "episodes": [episodes]}
    record = {"state": state, "progress": progress, "commands": [COMMAND], "cpu_seconds": 90.0}
    record |= {
        "versions": {"python": "3.11.7", "dqn": "0.1.0"},
        "git": "abc",
        "created": "2026-01-01T00:00:00",
    }
    if state == "finished":
        record["evaluation"] = finals
    (folder / "status.json").write_text(json.dumps(record | status))
    return folder


def make_sweep(folder: Path, *, lrs: tuple[float, ...] = (1e-3, 3e-4, 1e-4), seeds: int = 3) -> Path:
    """Write a sweep over agent.lr, where larger ones are better, with a separate run for each seed."""
    config = base()
    for lr in lrs:
        for seed in range(seeds):
            config["agent"]["lr"], config["seed"] = lr, seed
            typed = [f"agent.lr={lr}", f"seed={seed}"]
            make_run(folder / f"lr={lr},seed={seed}", config, level=100 + 1e5 * lr, overrides=typed)
    return folder


def change(run: Path, key: str, value: Any) -> None:
    """Change one value of a run's configuration."""
    path = run / ".hydra" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    *parents, name = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[name] = value
    path.write_text(yaml.safe_dump(config))
