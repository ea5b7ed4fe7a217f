"""The wheel: what is in it, and its commands outside the checkout."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from commands import TINY
from helpers import ROOT

pytest.importorskip("hatchling", reason="the builder hatchling is not installed; the extra `dev` brings it")

COMMANDS = {"dqn-train", "dqn-evaluate", "dqn-resume", "dqn-export", "dqn-check", "dqn-report", "dqn-doctor"}

pytestmark = pytest.mark.process


def python(*words: object) -> None:
    subprocess.run([sys.executable, "-m", *map(str, words)], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    python("pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ".")
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_content(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "dqn").rglob("*.py")}
    conf = {f"dqn/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    plugins = {str(path.relative_to(ROOT)) for path in (ROOT / "hydra_plugins").glob("*.py")}
    assert len(plugins) == 1
    assert names >= modules | conf | plugins | {"dqn/py.typed"}
    assert {name.partition("/")[0] for name in names} <= {
        "dqn",
        "hydra_plugins",
        f"{wheel.name.partition('-py3')[0]}.dist-info",
    }
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert set(re.findall(r"dqn-\w+", zipfile.ZipFile(wheel).read(entry_points).decode())) == COMMANDS


def test_commands_outside_the_checkout(wheel, tmp_path):
    """By what each prints as the next one."""
    site = tmp_path / "site"
    python("pip", "install", "--no-deps", "--target", site, wheel)
    env = os.environ | {"PYTHONPATH": str(site), "PATH": f"{site / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=env, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run(sys.executable, "-c", "from dqn.config.paths import CONF; print(CONF)")
    assert where.strip() == str(site / "dqn" / "conf")
    for name in sorted(COMMANDS):
        assert f"usage: {name} " in (text := run(name, "--help"))
        assert ".py" not in text
    text = run("dqn-train", "env=acrobot", "runner=episodes", "+env.kwargs.max_episode_steps=20", *TINY)
    words = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert words.keys() >= {"dqn-evaluate", "dqn-resume"}
    assert "mean -20.00" in run(*words["dqn-evaluate"][:2], "episodes=2")
    assert "episode 4 of 4" in run(*words["dqn-resume"])
