"""What a terminal shows: a progress bar that leaves log lines whole, and that is gone at the end."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from commands import SCRIPTS, run
from helpers import TINY_STEPS, make_runner

import dqn.agent
import dqn.runner.counters
from dqn.runner.progress import RunProgress, evaluations_left
from dqn.tracking.progress import SILENCE_SECONDS, LogLines, time_left
from dqn.types import Episode, Position

WORDS = ["num_seeds=2", "network.torso.hidden_sizes=[8]", "hydra.run.dir=run"]


def take_terminal() -> None:
    """Let Ctrl-C reach a new process, also where it inherits an ignored SIGINT, as background jobs do."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A process in a terminal of its own."""

    def __init__(self, *words: str, cwd: Path) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, (24).to_bytes(2, "little") + (100).to_bytes(2, "little") * 3)
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / "train.py"), *words],
            **{"cwd": cwd, "stdin": slave, "stdout": slave, "stderr": slave, "start_new_session": True},
            env={name: x for name, x in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"},
            preexec_fn=take_terminal,  # noqa: PLW1509
        )
        os.close(slave)
        self.written = b""

    def read(self, until: Callable[[str], bool] = lambda text: False) -> str:
        """Return what was written so far, once it is as awaited or the process has ended."""
        end = time.monotonic() + 240
        while time.monotonic() < end and not until(self.text):
            try:
                self.written += os.read(self.master, 65536)
            except OSError:  # the other side is closed
                self.process.wait(240)
                break
        return self.text

    @property
    def text(self) -> str:
        return self.written.decode(errors="replace")

    def press(self, key: bytes) -> None:
        os.write(self.master, key)


@pytest.fixture
def terminal():
    terminals = []

    def start(*words: str, cwd: Path) -> Terminal:
        terminals.append(Terminal(*words, cwd=cwd))
        return terminals[-1]

    yield start
    for one in terminals:
        os.close(one.master)
        with suppress(ProcessLookupError):
            one.process.kill()
        one.process.wait()


def plain(text: str) -> str:
    """Return a terminal's text without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.process
def test_a_bar_and_whole_log_lines(tmp_path, terminal):
    folder = f"run-{'long' * 40}"
    words = [
        "runner.total_episodes=200",
        "runner.iteration_length=20",
        "runner.eval_period=5",
        "runner.eval_episodes=1000",  # they take longer than it takes until the next drawing
        *WORDS[:-1],
        f"hydra.run.dir={folder}",
    ]
    window = terminal(*words, cwd=tmp_path)
    raw = window.read()
    assert window.process.returncode == 0, raw
    text = plain(raw)
    assert re.search(r"episode \d+ of 200 \|.*\| \d+%, about \d+ s left", text)
    assert re.search(
        r"return +[\d.]+ \([\d.]+ to [\d.]+\) \| epsilon 0\.\d+ \| (loss \S+ \| )?[\d,]+ steps/s", text
    )
    lines = [line.rstrip("\r").split("\r")[-1] for line in text.split("\n")]
    told = [line for line in lines if re.match(r"episode +\d+ of 200 \| return .* steps/s$", line)]
    assert len(told) == 10
    path = tmp_path / folder
    last = [line for line in lines if line.strip()][-6:]
    assert re.fullmatch(r"finished: mean evaluation return [\d.]+ \(interquartile mean of 2 seeds\)", last[0])
    best = r"interquartile mean of 2 seeds; optimistic: picked as the best of 2"
    assert re.fullmatch(rf"best evaluation during training [\d.]+ \({best}\)", last[1])
    assert re.search(r"evaluating [\d,]+ of [\d,]+ episodes, step \d+", text)
    assert last[2:] == [
        f"run folder: {path}",
        f"  tensorboard --logdir {path}",
        f"  python {SCRIPTS / 'evaluate.py'} {path} episodes=100",
        f"  python {SCRIPTS / 'resume.py'} {path} runner.total_episodes=400",
    ]
    assert "\x1b[?25l" not in raw, "a kill would leave the terminal without a cursor"


@pytest.mark.process
def test_ctrl_c(tmp_path, terminal):
    window = terminal("runner.total_episodes=100000", *WORDS, cwd=tmp_path)
    window.read(lambda text: "left" in text and "of 100000 |" in plain(text))
    began = time.monotonic()
    window.press(b"\x03")
    text = plain(window.read())
    assert window.process.returncode == 130
    assert time.monotonic() - began < 60  # it does not train all episodes first
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
    assert text.rstrip().endswith(
        f"interrupted; continue with: python {SCRIPTS / 'resume.py'} {tmp_path / 'run'}"
    )
    assert "Traceback" not in text


@pytest.mark.process
def test_plain_lines_elsewhere(tmp_path):
    """Where stdout is no terminal, the bar is not even imported."""
    watch = "import sys, runpy, atexit; sys.argv.pop(0); sys.path.insert(0, sys.argv[0].rpartition('/')[0])"
    watch += "; atexit.register(lambda: print('dqn.tracking.progress_bar' in sys.modules))"
    watch += "; runpy.run_path(sys.argv[0], run_name='__main__')"
    words = ["runner.total_episodes=4", "runner.iteration_length=2", "runner.eval_episodes=0", *WORDS]
    result = run("train", *words, cwd=tmp_path, python=["-c", watch])
    assert result.text.splitlines()[-1] == "False"
    assert "\x1b" not in result.text
    assert "\r" not in result.text
    assert sum(line.startswith("episode ") for line in result.text.splitlines()) == 2


class Counting:
    """Stands for the display and counts how often it is asked and drawn."""

    def __init__(self) -> None:
        self.asked, self.drawn, self.logged, self.ended = 0, [], [], False

    def start(self, done: int) -> None:
        self.drawn.append((done, "start", None))

    def due(self) -> bool:
        self.asked += 1
        return self.asked % 2 == 0

    def show(self, done: int, text: str, left: float | None) -> None:
        self.drawn.append((done, text, left))

    def log(self, text: str, left: float | None) -> None:
        self.logged.append((text, left))

    def close(self) -> None:
        self.ended = True


@pytest.fixture
def watched(tmp_path):
    """Return what makes a runner whose display counts, and the display."""

    def make(*overrides: str):
        runner = make_runner(tmp_path, [*TINY_STEPS, *overrides])
        display = Counting()
        runner.progress = RunProgress(display)
        return runner, display

    return make


def test_the_loop_looks_at_the_clock_now_and_then(watched):
    runner, display = watched("runner.total_steps=140", "runner.iteration_length=70")
    runner.run()
    assert display.asked == 2 * (70 // 16 + 1)
    assert [tick for tick, *_ in display.drawn] == [0, 32 - 1, 64 - 1, 70 + 16 - 1, 70 + 48 - 1, 140]
    assert all("epsilon" in text and "steps/s" in text for _, text, _ in display.drawn[1:])
    before = "learning starts after 50 transitions, 31 are stored"
    assert [before in text for _, text, _ in display.drawn[1:3]] == [True, False]
    assert display.ended


def test_evaluations_and_videos_are_shown(watched, monkeypatch):
    """The speed leaves them out; the time left counts those to come."""
    now = [0.0]
    for module in (dqn.runner.progress, dqn.runner.counters):
        for name in ("monotonic", "perf_counter"):
            monkeypatch.setattr(module.time, name, lambda: now[0])
    runner, display = watched("runner.eval_period=1", "runner.eval_episodes=3", "runner.eval_num_envs=2")

    def act(*_):
        now[0] += 0.5 if runner.counters._seconds is None else 10.0
        return np.zeros((1, runner.evaluator.columns if runner.counters._seconds else 1), np.int64)

    monkeypatch.setattr(dqn.agent.Actor, "act", act)
    display.due = lambda: True
    runner.run()
    (first, left), (_, none) = display.logged
    assert first.endswith("| 2 steps/s")
    shown = [text for _, text, _ in display.drawn if text.startswith("evaluating")]
    steps = len(shown) // 2
    assert shown[0] == "evaluating 0 of 3 episodes, step 1"
    assert shown[-1].startswith("evaluating 3 of 3 episodes, step ")
    assert left == pytest.approx(200 * 0.5 + steps * 10.0, rel=0.1)
    assert none == 0


@pytest.mark.parametrize(
    ("length", "period", "left"),
    [(200, 0, [1, 1, 0]), (200, 1, [2, 1, 0]), (200, 2, [1, 1, 0]), (100, 3, [2, 2, 2, 1, 0])],
)
def test_the_number_of_evaluations_to_come(watched, length, period, left):
    runner, _ = watched(f"runner.iteration_length={length}", f"runner.eval_period={period}")
    counts = []
    for runner.iteration in range(len(left)):
        counts.append(evaluations_left(runner))
    assert counts == left


def test_a_log_is_never_silent_for_long(caplog, monkeypatch):
    """A line for each 30 seconds without one; lines about iterations count."""
    caplog.set_level("INFO")
    now = [0.0]
    monkeypatch.setattr("dqn.tracking.progress.time.monotonic", lambda: now[0])
    lines = LogLines(unit="step", total=500, silence=SILENCE_SECONDS)
    lines.show(0, "not started", None)
    lines.start(0)
    for second in range(0, 100, 10):
        now[0] = second
        if second == 50:
            lines.log("step 60 of 500 | 1 step/s", 400.0)
        lines.show(second, "1 step/s", 500.0 - second)
    assert caplog.messages == [
        "step 30 of 500 | 1 step/s | about 8 min left",
        "step 60 of 500 | 1 step/s | about 7 min left",
        "step 80 of 500 | 1 step/s | about 7 min left",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, ""),
        (0.2, "about 1 s left"),
        (89, "about 89 s left"),
        (100, "about 2 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_time_left(seconds, text):
    assert time_left(seconds) == text


def test_the_display_ends_with_the_run_that_fails(watched):
    runner, display = watched()
    runner.agent.actor.act = None
    with pytest.raises(TypeError):
        runner.run()
    assert display.ended


def test_steps_that_are_played_again(tmp_path, caplog):
    """They are those that the metrics have beyond the checkpoint, also the ones not yet written."""
    caplog.set_level("INFO")
    words = [*TINY_STEPS, "runner.iteration_length=100", "num_seeds=2"]
    runner = make_runner(tmp_path, words)
    train = runner.train

    def interrupted() -> None:
        train()
        if runner.tick == 200:
            for k, step in enumerate((221, 230)):
                runner.logger.episode(Episode(k, 0, Position(step, 9, 0), 9.0, 9), 0.0)
            raise KeyboardInterrupt

    runner.train = interrupted
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    make_runner(tmp_path, words).run()
    assert "resumed after step 100; 130 logged steps after it are played again" in caplog.messages
    make_runner(tmp_path, [*words, "runner.total_steps=500"]).run()
    assert "resumed after step 400" in caplog.messages
