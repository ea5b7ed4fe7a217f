"""What a run tells: one line for each environment step that has something to tell, and the same as events."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import make_runner
from records import check_records, read_events, read_metrics, scalars_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import SessionLog

import dqn.tracking.logger
from dqn.errors import UserError
from dqn.runner.counters import Counters
from dqn.tracking.logger import Logger
from dqn.tracking.trackers import TensorBoard, Tracker
from dqn.types import Update

COUNTERS = {"step", "episode", "update"}
EPISODE = {"train/return", "train/length", "train/epsilon"}
LEARNING = {"train/loss", "train/q", "train/grad_norm"}
TAGS = EPISODE | LEARNING | {"eval/return", "time/steps_per_second"}


class Tracked:
    """Counters and the logger that writes them, as the runner uses both."""

    def __init__(self, folder: Path, states: Any, saved: Any, num_envs: int, seeds: Any) -> None:
        self.counters = Counters(seeds=seeds, num_envs=num_envs)
        trackers = {"tensorboard": TensorBoard()}
        self.logger = Logger(folder=folder, seeds=seeds, config={}, trackers=trackers)
        if saved is not None:
            self.counters.load_state_dict(saved["counters"])
            self.logger.load_state_dict(saved["logger"])
        self.logger.open(self.counters.positions, states)
        self.counters.start_iteration()
        self.files, self.close = self.logger.files, self.logger.close

    def step(self, ended: Any = False, *, reward: Any = 1.0, active: Any = True) -> None:
        """Count and log one step of all environments."""
        shape = self.counters._returns.shape
        episodes = self.counters.count(
            raw_reward=np.broadcast_to(reward, shape) * np.broadcast_to(active, shape),
            active=np.broadcast_to(active, shape),
            ended=np.broadcast_to(ended, shape),
        )
        for episode in episodes:
            self.logger.episode(episode, 0.25)

    def update(self, *values: float) -> None:
        """Log an update with each seed's loss, q and grad_norm, those of the second ten times as large."""
        scale = np.array([1.0, 10.0])[: len(self.counters.seeds)]
        self.counters.updates += 1
        self.logger.update(Update(np.zeros((scale.size, 4)), *(value * scale for value in values)))

    def evaluated(self, returns: Any) -> None:
        self.counters.evaluated(returns)
        self.logger.evaluated(self.counters.positions, returns)

    def end_iteration(self) -> None:
        counters = self.counters
        self.logger.end_iteration(
            counters.positions,
            steps_per_second=counters.steps_per_second(),
            returns=counters.recent_returns(),
        )

    def state_dict(self) -> Any:
        return {"counters": self.counters.state_dict(), "logger": self.logger.state_dict()}


@pytest.fixture
def make(tmp_path):
    """Return what opens a logger of two seeds; all are closed at the end."""
    opened = []

    def make(states: Any = None, saved: Any = None, num_envs: int = 1, seeds: Any = (3, 4)) -> Tracked:
        opened.append(Tracked(tmp_path, states, saved, num_envs, seeds))
        return opened[-1]

    yield make
    for tracked in opened:
        tracked.close()


def lines_of(folder: Path, seed: int = 3) -> list[dict[str, float]]:
    return read_metrics(folder, without=("nothing/",))[f"seed={seed}"]


def test_lines_of_a_run(tmp_path):
    """A line has its counters and, of the tags, those that its step has news of."""
    words = [
        *("runner=steps", "runner.total_steps=400", "runner.iteration_length=100", "num_seeds=2", "seed=7"),
        *("runner.learning_starts=150", "runner.batch_size=8", "network.torso.hidden_sizes=[8]"),
        "runner.train_period=4",
        *("runner.eval_period=2", "runner.eval_episodes=3", "env.num_envs=2", "memory.capacity=300"),
    ]
    runner = make_runner(tmp_path, words)
    runner.run()
    assert list(read_metrics(tmp_path)) == ["seed=7", "seed=8"]
    check_records(tmp_path)
    for k, lines in enumerate(read_metrics(tmp_path, without=("nothing/",)).values()):
        for line in lines:
            assert list(line)[:3] == ["step", "episode", "update"]
            assert all(type(line[name]) is int for name in COUNTERS)
            tags = line.keys() - COUNTERS
            assert tags
            assert tags <= TAGS
            assert not tags & EPISODE or tags >= EPISODE
            assert not tags & LEARNING or tags >= LEARNING
            assert ("time/steps_per_second" in tags) == (line["step"] % 100 == 0)
            assert ("eval/return" in tags) == (line["step"] % 200 == 0)
        episodes = [line for line in lines if line.keys() >= EPISODE]
        assert [line["episode"] for line in episodes] == list(range(1, runner.counters.episodes[k] + 1))
        assert all(line["train/return"] == line["train/length"] for line in episodes), "so in CartPole"
        assert all(line["train/epsilon"] == runner.epsilon((line["step"] - 1) // 2 * 2) for line in episodes)
        assert lines[-1]["step"] == 400
        assert lines[-1]["update"] == runner.counters.updates == (400 - 150) // 4 + 1
        assert lines[-1]["eval/return"] == np.mean(runner.counters.evaluation[str(7 + k)])


def test_the_document_s_clock_counts_steps_too(tmp_path):
    words = [
        *("runner.total_episodes=8", "runner.iteration_length=4", "num_seeds=3", "runner.eval_period=1"),
        *("network.torso.hidden_sizes=[8]", "runner.eval_episodes=1"),
    ]
    runner = make_runner(tmp_path, words)
    runner.run()
    check_records(tmp_path)
    for k, lines in enumerate(read_metrics(tmp_path).values()):
        episodes = [line for line in lines if "train/return" in line]
        assert [line["step"] for line in episodes] == np.cumsum(
            [e["train/length"] for e in episodes]
        ).tolist()
        assert [line["step"] for line in lines if "eval/return" in line] == [
            episodes[3]["step"],
            episodes[7]["step"],
        ]
        assert lines[-1]["step"] == runner.counters.steps[k]


def test_step_numbers_with_several_environments(make, tmp_path):
    """Environment e of E has its transition at the steps before, plus e + 1."""
    logger = make(num_envs=3)
    logger.step([[False] * 3, [True, False, True]])
    logger.step([[True] * 3, [False, True, False]], reward=2.0)
    logger.files()
    assert [(x["step"], x["episode"], x["train/return"], x["train/length"]) for x in lines_of(tmp_path)] == [
        (4, 1, 3.0, 2),
        (5, 2, 3.0, 2),
        (6, 3, 3.0, 2),
    ]
    assert [(x["step"], x["train/return"], x["train/length"]) for x in lines_of(tmp_path, 4)] == [
        (1, 1.0, 1),
        (3, 1.0, 1),
        (5, 3.0, 2),
    ]
    assert logger.counters.steps.tolist() == [6, 6]
    assert logger.counters.episodes.tolist() == [3, 3]


def test_a_waiting_environment_takes_no_step(make, tmp_path):
    logger = make()
    logger.step([[True], [False]])
    for _ in range(4):
        logger.step(active=[[False], [True]])
    logger.step([[False], [True]], active=[[False], [True]])
    logger.counters.start_iteration()
    logger.step(ended=True)
    logger.files()
    assert [(x["step"], x["train/length"]) for x in lines_of(tmp_path)] == [(1, 1), (2, 1)]
    assert [(x["step"], x["train/length"]) for x in lines_of(tmp_path, 4)] == [(6, 6), (7, 1)]


def test_means_since_the_line_before(make, tmp_path):
    logger = make()
    logger.update(1.0, 2.0, 3.0)
    logger.update(3.0, 4.0, 7.0)
    logger.step([[True], [False]])
    logger.update(5.0, 6.0, 7.0)
    logger.step([[True], [True]])
    logger.step([[True], [False]])
    logger.files()
    first, second, third = lines_of(tmp_path)
    assert {tag: first[tag] for tag in LEARNING} == {"train/loss": 2, "train/q": 3, "train/grad_norm": 5}
    assert {tag: second[tag] for tag in LEARNING} == {"train/loss": 5, "train/q": 6, "train/grad_norm": 7}
    assert not third.keys() & LEARNING
    assert [line["update"] for line in (first, second, third)] == [2, 3, 3]
    (other,) = lines_of(tmp_path, 4)
    assert other["train/loss"] == 30


def test_one_line_of_a_step(make, tmp_path):
    logger = make()
    logger.step(ended=True)
    logger.evaluated(np.array([[1.0, 2.0], [3.0, 4.0]]))
    logger.update(1.0, 1.0, 1.0)
    logger.end_iteration()
    logger.files()
    (line,) = lines_of(tmp_path)
    assert line.keys() == COUNTERS | TAGS
    assert line["eval/return"] == 1.5
    assert line["update"] == 1
    check_records(tmp_path)


def test_a_cut_episode_is_no_return(make, tmp_path):
    logger = make()
    logger.step()
    logger.end_iteration()
    logger.counters.start_iteration()
    logger.step(ended=True)
    logger.files()
    assert [line.get("train/return") for line in lines_of(tmp_path)] == [None, 1.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_left_out(make, tmp_path, bad):
    logger = make()
    logger.update(1.0, bad, 2.0)
    logger.step(ended=True, reward=bad)
    logger.files()
    text = (tmp_path / "seed=3" / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    (line,) = lines_of(tmp_path)
    assert line.keys() == COUNTERS | EPISODE - {"train/return"} | LEARNING - {"train/q"}
    check_records(tmp_path)


def test_numbers_are_exact(make, tmp_path):
    logger = make()
    logger.step(ended=True, reward=0.1)
    logger.step(ended=True, reward=1e300 / 3)
    logger.files()
    assert [line["train/return"] for line in lines_of(tmp_path)] == [0.1, 1e300 / 3]


def test_lines_reach_the_disk_while_the_run_goes_on(make, tmp_path, monkeypatch):
    monkeypatch.setattr(dqn.tracking.logger, "FLUSH_SECONDS", -1.0)
    logger = make()
    for _ in range(3):
        logger.step(ended=True)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2], "the latest line may still grow"


def logged_beyond(make: Any) -> tuple[Any, Any, Any]:
    """Log steps 1 to 20, take the state, and log 21 to 30 in vain; return the open logger and the state."""
    logger = make()
    for _ in range(20):
        logger.step(ended=True)
    states, counts = logger.files(), logger.state_dict()
    for _ in range(10):
        logger.step(ended=True, reward=-1.0)
    logger.files()
    return logger, states, counts


def interrupted(make: Any, tmp_path: Path) -> tuple[Any, Any]:
    """Log beyond a state and close the logger; return the state."""
    logger, states, counts = logged_beyond(make)
    logger.close()
    assert len(lines_of(tmp_path)) == 30
    return states, counts


def test_reopening_cuts_what_came_later(make, tmp_path):
    states, counts = interrupted(make, tmp_path)
    before = (tmp_path / "seed=3" / "metrics.jsonl").read_bytes()[: states["metrics"][0]]
    with (tmp_path / "seed=3" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 31, "epis')
    for _ in range(2):  # the second time, the events of the first are cut off as a whole
        logger = make(states, counts)
        assert (tmp_path / "seed=3" / "metrics.jsonl").read_bytes() == before
        for _ in range(10):
            logger.step(ended=True)
        again = logger.files()
        logger.close()
        assert [line["step"] for line in lines_of(tmp_path)] == list(range(1, 31))
        assert {line["train/return"] for line in lines_of(tmp_path)} == {1.0}
        check_records(tmp_path)
    logger = make(again, logger.state_dict())
    logger.step(ended=True)
    logger.files()
    assert [line["step"] for line in lines_of(tmp_path)] == list(range(1, 32))
    check_records(tmp_path)


def test_reopening_without_a_state_begins_anew(make, tmp_path):
    interrupted(make, tmp_path)
    logger = make()
    logger.step(ended=True)
    logger.files()
    assert len(lines_of(tmp_path)) == 1
    check_records(tmp_path)


def test_events_announce_where_a_resumed_run_goes_on(make, tmp_path):
    states, counts = interrupted(make, tmp_path)
    make(states, counts).files()
    versions = [event.file_version for event in read_events(tmp_path / "seed=3") if event.file_version]
    assert versions == ["brain.Event:2"] * 2
    starts = [
        event.step
        for event in read_events(tmp_path / "seed=3")
        if event.session_log.status == SessionLog.START
    ]
    assert starts == [1, 21]


@pytest.mark.parametrize("saved", [True, False])
def test_a_tensorboard_that_looks_on_sees_each_step_once(make, tmp_path, saved):
    """It drops what it has seen and was cut off, with and without a checkpoint to go on from."""
    logger, states, counts = logged_beyond(make)
    board = EventAccumulator(str(tmp_path / "seed=3"), size_guidance={"scalars": 0})
    board.Reload()
    assert len(board.Scalars("return/train")) == 30
    logger.close()
    logger = make(states, counts) if saved else make()
    for _ in range(5):
        logger.step(ended=True)
    logger.files()
    board.Reload()
    seen = [(event.step, event.value) for event in board.Scalars("return/train")]
    assert seen == [(step, 1.0) for step in range(1, 26 if saved else 6)]


def test_a_shortened_file_is_refused(make, tmp_path):
    states, _ = interrupted(make, tmp_path)
    logger = Logger(folder=tmp_path, seeds=(3, 4), config={}, trackers={"tensorboard": TensorBoard()})
    for pattern in ("metrics.jsonl", "events*"):
        (path,) = (tmp_path / "seed=3").glob(pattern)
        content = path.read_bytes()
        path.write_bytes(content[:100])
        with pytest.raises(UserError, match=f"{path}: damaged"):
            logger.check(states)
        path.write_bytes(content)
    logger.check(states)


def test_all_files_are_closed_where_one_cannot_be_written(make):
    logger = make().logger

    class Full(Tracker):
        def close(self) -> None:
            raise OSError("No space left on device")

    board = logger._opened["tensorboard"]
    logger._opened |= {"full": Full(), "other": board}
    with pytest.raises(OSError, match="No space"):
        logger.close()
    assert all(events._file.closed for events in board._events)
    assert all(log._metrics.closed for log in logger._logs)
    del logger._opened["full"]


def test_counters_round_trip(make):
    logger = make()
    for _ in range(3):
        logger.step(ended=True)
    logger.update(1.0, 2.0, 3.0)
    logger.evaluated(np.ones((2, 2)))
    logger.update(1.0, 2.0, 3.0)
    state = json.loads(json.dumps(logger.state_dict()))
    other = make(logger.files(), state)
    assert other.state_dict() == logger.state_dict()
    assert other.counters.recent_returns() == [1.0, 1.0]


def test_recent_returns_leave_out_seeds_without_any(make):
    logger = make()
    assert logger.counters.recent_returns() == []
    logger.step([[True], [False]])
    assert logger.counters.recent_returns() == [1.0]


def test_the_helper_that_other_tests_trust_sees_a_step_that_was_written_twice(make, tmp_path):
    logger = make()
    logger.step(ended=True)
    logger.files()
    logger.logger._each("log", 0, lines_of(tmp_path))
    logger.files()
    assert scalars_of(read_events(tmp_path / "seed=3"))[1, "train/return"] == [1.0, 1.0]
    with pytest.raises(AssertionError):
        check_records(tmp_path)
