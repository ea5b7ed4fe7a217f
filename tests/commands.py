"""Run the scripts, as processes or in this one, and look at their output and files."""

import hashlib
import importlib.util
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from dqn.cli import main as cli

SCRIPTS = Path(__file__).parents[1] / "scripts"
TINY = ["runner.total_episodes=2", "runner.iteration_length=2", "runner.eval_episodes=0"]

ANSWERS = """
import contextlib, io, json, runpy, sys, time
_, script, commands = sys.argv
sys.path.insert(0, script.rpartition("/")[0])
for arguments in json.loads(commands):
    start, out, code = time.process_time(), io.StringIO(), 0
    sys.argv = [script, *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            code = end.code
    text = out.getvalue() + (code if isinstance(code, str) else "")
    code = 1 if isinstance(code, str) else code or 0
    print(json.dumps([code, text, time.process_time() - start, "torch" in sys.modules]))
"""
"""Program for `python -c` that runs a script with each of several command lines in one process."""


class Answer(NamedTuple):
    code: int
    text: str
    seconds: float
    """CPU seconds until the answer."""
    has_torch: bool
    """True if torch was imported, for this answer or an earlier one."""


class Result(NamedTuple):
    code: int
    text: str


def start(
    script: str, *arguments: str, cwd: Path, python: list[str] | None = None
) -> "subprocess.Popen[str]":
    """Start a script; it can import the modules of the tests."""
    command = [sys.executable, *(python or []), str(SCRIPTS / f"{script}.py"), *arguments]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: "subprocess.Popen[str]") -> Result:
    text, _ = process.communicate(timeout=240)
    assert "Traceback" not in text, text
    return Result(process.returncode, text)


def run(script: str, *arguments: str, cwd: Path, python: list[str] | None = None) -> Result:
    """Run a script to its end."""
    return finish(start(script, *arguments, cwd=cwd, python=python))


def answers(script: str, commands: list[list[str]], *, cwd: Path, env: dict[str, str]) -> list[Answer]:
    """Return the answers of a script to several command lines, all in one new process."""
    command = [sys.executable, "-c", ANSWERS, str(SCRIPTS / f"{script}.py"), json.dumps(commands)]
    text = subprocess.check_output(command, cwd=cwd, env=os.environ | env, text=True, timeout=240)
    return [Answer(*json.loads(line)) for line in text.splitlines()]


def child_seconds() -> float:
    """Return the CPU seconds of all child processes that have exited."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def call(script: str, *arguments: object) -> Result:
    """Run a script's function in this process."""
    function: Callable[[], None] = getattr(cli, script)
    argv, sys.argv = sys.argv, [str(SCRIPTS / f"{script}.py"), *map(str, arguments)]
    out = io.StringIO()
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(out):
            function()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
    text = out.getvalue()
    if isinstance(code, str):  # which the interpreter would print
        code, text = 1, text + code
    return Result(int(code or 0), text)


def named(text: str, keys: dict[str, str]) -> None:
    """Assert that each key starts a line of an error message that contains the key's text."""
    lines = [line.strip() for line in text.splitlines()]
    for key, right in keys.items():
        assert any(line.startswith(key) and right in line.removeprefix(key) for line in lines), (key, text)


def load_script(name: str) -> ModuleType:
    """Return a script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", SCRIPTS / f"{name}.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree(folder: Path) -> dict[str, str]:
    """Return all paths below `folder` and the digests of their contents."""
    return {str(path.relative_to(folder)): content(path) for path in sorted(folder.rglob("*"))}


def content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
