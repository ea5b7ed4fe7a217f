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

import pytest
from commands import SCRIPTS, run
from helpers import TINY_STEPS, make_runner

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
        end = time.monotonic() + 120
        while time.monotonic() < end and not until(self.text):
            try:
                self.written += os.read(self.master, 65536)
            except OSError:  # the other side is closed
                self.process.wait(60)
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
        *WORDS[:-1],
        f"hydra.run.dir={folder}",
    ]
    window = terminal(*words, cwd=tmp_path)
    raw = window.read()
    assert window.process.returncode == 0, raw
    text = plain(raw)
    assert re.search(r"episode \d+ of 200 \|.*\| \d+%, [?\d:]+ left", text)
    assert re.search(
        r"return +[\d.]+ \([\d.]+ to [\d.]+\) \| epsilon 0\.\d+ \| (loss \S+ \| )?[\d,]+ steps/s", text
    )
    lines = [line.rstrip("\r").split("\r")[-1] for line in text.split("\n")]
    told = [line for line in lines if re.match(r"episode +\d+ of 200 \| return .* steps/s$", line)]
    assert len(told) == 10
    path = tmp_path / folder
    last = [line for line in lines if line.strip()][-6:]
    assert last[0].startswith("finished: interquartile mean of the evaluation returns")
    assert last[1].startswith("best periodic evaluation of each seed (selected, so biased upwards)")
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
    assert time.monotonic() - began < 5
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
    assert text.rstrip().endswith(
        f"interrupted; continue with: python {SCRIPTS / 'resume.py'} {tmp_path / 'run'}"
    )
    assert "Traceback" not in text


@pytest.mark.process
def test_plain_lines_elsewhere(tmp_path):
    """Where stdout is no terminal, the bar is not even imported."""
    watch = "import sys, runpy, atexit; sys.argv.pop(0)"
    watch += "; atexit.register(lambda: print('dqn.tracking.progress_bar' in sys.modules))"
    watch += "; runpy.run_path(sys.argv[0], run_name='__main__')"
    words = ["runner.total_episodes=4", "runner.iteration_length=2", "runner.eval_episodes=0", *WORDS]
    result = run("train", *words, cwd=tmp_path, python=["-c", watch])
    assert result.text.splitlines()[-1] == "False"
    assert "\x1b" not in result.text
    assert "\r" not in result.text
    assert sum(line.startswith("episode ") for line in result.text.splitlines()) == 2


class Counting:
    """Stands for the bar and counts how often it is asked and drawn."""

    def __init__(self) -> None:
        self.asked, self.drawn, self.ended = 0, [], False

    def start(self, tick: int) -> None:
        self.drawn.append(tick)

    def due(self) -> bool:
        self.asked += 1
        return self.asked % 2 == 0

    def show(self, tick: int, numbers: str) -> None:
        assert "epsilon" in numbers
        self.drawn.append(tick)

    def close(self) -> None:
        self.ended = True


def test_the_loop_looks_at_the_clock_now_and_then(tmp_path):
    runner = make_runner(tmp_path, [*TINY_STEPS, "runner.total_steps=1400", "runner.iteration_length=700"])
    runner.bar = bar = Counting()
    runner.run()
    assert bar.asked == 2 * (700 // 256 + 1)
    assert bar.drawn == [0, 512 - 1, 700 + 256 - 1, 1400]
    assert bar.ended


def test_the_bar_ends_with_the_run_that_fails(tmp_path):
    runner = make_runner(tmp_path, TINY_STEPS)
    runner.bar = bar = Counting()
    runner.agent.actor.act = None
    with pytest.raises(TypeError):
        runner.run()
    assert bar.ended
