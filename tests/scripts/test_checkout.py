"""A script that a Python without the package runs."""

import os
import shutil
import subprocess
import sys

import pytest
from commands import SCRIPTS

FAKE = '#!/bin/sh\necho "in .venv:" "$@"\n'


@pytest.fixture
def checkout(tmp_path):
    """Return a checkout with one script, and a function that runs it in a Python without the package."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPTS / "checkout.py", tmp_path / "scripts")
    (tmp_path / "scripts" / "train.py").write_text("import checkout\nprint('goes on')\n")

    def run(**env):
        keep = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        command = [sys.executable, "-S", "scripts/train.py", "a=1", "b c"]
        return subprocess.run(
            command, cwd=tmp_path, env=keep | env, capture_output=True, text=True, check=False
        )

    return tmp_path, run


@pytest.mark.process
def test_the_checkouts_environment_is_used(checkout):
    folder, run = checkout
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE)
    python.chmod(0o755)
    result = run()
    assert (result.stdout, result.stderr) == ("in .venv: -S scripts/train.py a=1 b c\n", "")
    assert run(VIRTUAL_ENV="/other").stderr.endswith(f"lacks this package; continuing with {python}\n")


@pytest.mark.process
def test_a_checkout_without_an_environment_says_how_to_install(checkout):
    folder, run = checkout
    result = run()
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert f"lacks this package. To install it: make train, or python3 -m venv {folder}/.venv && " in line


def test_every_script_that_users_run_imports_it():
    scripts = [path for path in SCRIPTS.glob("*.py") if 'if __name__ == "__main__":' in path.read_text()]
    others = {"document_loop.py", "doctor.py"}  # one is frozen, the other says itself what is missing
    scripts = [path for path in scripts if path.name not in others]
    assert len(scripts) > 6
    assert [path.name for path in scripts if "\nimport checkout " not in path.read_text()] == []
