"""Read metrics, events, checkpoint and final state of a run."""

import json
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from dqn.memory import ReplayMemory
from dqn.runner import Runner
from dqn.storage.checkpoint import Checkpoint, TorchPart
from dqn.tracking.tensorboard import CARDS

Line = dict[str, float]


def read_metrics(folder: Path, *, without: tuple[str, ...] = ("time/",)) -> dict[str, list[Line]]:
    """Return the lines of every seed, except tags that start with one of `without`."""
    return {
        path.parent.name: [
            {tag: x for tag, x in json.loads(line).items() if not tag.startswith(without)}
            for line in path.read_text().splitlines()
        ]
        for path in sorted(folder.glob("seed=*/metrics.jsonl"))
    }


def read_events(seed_folder: Path) -> list[Event]:
    """Return the events of all files as they were written, without purging any."""
    return [
        Event.FromString(record)
        for path in sorted(seed_folder.glob("events.out.tfevents.*"))
        for record in RawEventFileLoader(str(path)).Load()
    ]


def scalars_of(events: list[Event]) -> dict[tuple[int, str], list[float]]:
    """Return all values that were written for each step and tag of metrics.jsonl."""
    tags = {card: tag for tag, card in CARDS.items()}
    found: dict[tuple[int, str], list[float]] = {}
    for event in events:
        for value in event.summary.value:
            if value.WhichOneof("value") != "simple_value":
                continue
            found.setdefault((event.step, tags.get(value.tag, value.tag)), []).append(value.simple_value)
    return found


def check_records(folder: Path) -> None:
    """Assert that no step occurs twice, and that metrics and events hold the same numbers."""
    for seed, lines in read_metrics(folder, without=("nothing/",)).items():
        steps = [line["step"] for line in lines]
        assert all(before < after for before, after in pairwise(steps)), seed
        logged = {(int(line["step"]), tag): x for line in lines for tag, x in line.items() if "/" in tag}
        written = scalars_of(read_events(folder / seed))
        final = (int(steps[-1]), "eval/return") if steps else None  # of a finished run, not in metrics.jsonl
        assert {key: [np.float32(x)] for key, x in logged.items()} == {
            key: values for key, values in written.items() if key in logged or key != final
        }
        accumulator = EventAccumulator(str(folder / seed), size_guidance={"scalars": 0})
        accumulator.Reload()
        tags = {card: tag for tag, card in CARDS.items()}
        loaded = {
            (event.step, tags.get(tag, tag)): [event.value]
            for tag in accumulator.Tags()["scalars"]
            for event in accumulator.Scalars(tag)
        }
        assert loaded == written
    together = scalars_of(read_events(folder))
    assert all(len(values) == 1 for values in together.values()), "a step was written twice"


def contents(runner: Runner) -> dict[str, Any]:
    """Return everything that a finished runner holds, read from its parts instead of their `state_dict`."""
    agent, memory, counters = runner.agent, runner.memory, runner.counters
    everyone = np.ones(len(counters.seeds), bool)
    return {
        "online": dict(agent.online.named_parameters()),
        "target": dict(agent.target.named_parameters()),
        "optimizer": agent.optimizer.state_dict(),
        "ring": {name: x for name, x in vars(memory.ring).items() if isinstance(x, np.ndarray)},
        "carries": None if memory.ring.carries is None else memory.ring.carries.stored,
        "sampling": [stream.bit_generator.state for stream in memory.sampler.streams],
        "steps": counters.steps,
        "episodes": counters.episodes,
        "updates": counters.updates,
        "recent": counters.recent,
        "evaluation": counters.evaluation,
        "best": runner.best.state_dict(),
        "tick": runner.tick,
        "iteration": runner.iteration,
        "exploration": [agent.actor.exploration.next(everyone).copy() for _ in range(300)],
    }


def stored(folder: Path) -> dict[str, Any]:
    """Return the checkpoint of a run without the sizes of its other files; rows as names and hashes."""
    checkpoint = Checkpoint(folder)
    parts = {
        part: checkpoint.load(part)
        for part in ("policy", "learner", "memory", "best")
        if checkpoint.has(part)
    }
    del parts["learner"]["files"]
    return parts | {"rows": json.loads(checkpoint.manifest.read_text())["files"]["rows"]}


def pass_on(memory: ReplayMemory, other: ReplayMemory, folder: Path) -> None:
    """Bring another memory by a checkpoint in `folder` to where `memory` is."""
    own, others = ({"memory": TorchPart(m), "rows": m.rows} for m in (memory, other))
    Checkpoint(folder).save(1, own)
    Checkpoint(folder).restore(others)


def same(one: Any, other: Any, path: str = "") -> None:
    """Assert that two nested values are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        one, other = one.detach().numpy(), other.detach().numpy()
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), path
        assert one.tobytes() == other.tobytes(), f"{path}: {np.sum(one != other)} of {one.size} differ"
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple | deque):
        assert len(one) == len(other), path
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            same(mine, theirs, f"{path}[{index}]")
    else:
        assert one == other, path
