"""Custom parts from a user's package and folder of options, without changes to this repository.

In tests/user/, my_package has an environment and parts of several groups, and my_conf has their options.
"""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import SCRIPTS, answers, call, named, tree
from helpers import ROOT, USER

import dqn
from dqn.agent.backup import target_of
from dqn.config.compose import compose
from dqn.types import Batch
from dqn.value import Expected

CONF = USER / "my_conf"
PAGE = ROOT / "docs" / "tutorials" / "your_own_part.md"
PATHS = {"PYTHONPATH": os.pathsep.join([str(USER), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(autouse=True)
def my_package(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(USER)
    monkeypatch.chdir(tmp_path)


def process(script: str, *arguments: str) -> str:
    """Run a script with the user's package on PYTHONPATH; return its output."""
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), *arguments]
    done = subprocess.run(
        command,
        env=os.environ | PATHS,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def config_of(*overrides: str, **options: object) -> dict:
    return compose(overrides, **options).config


@pytest.mark.process
def test_train_resume_evaluate(tmp_path):
    """Run the commands of the tutorial in their order."""
    lines = "".join(re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)).splitlines()
    commands = [
        shlex.split(line, comments=True)[1:] for line in lines if re.search(r"corridor\b| run ", line)
    ]
    commands = [words for words in commands if "agent/backup=mellowmax" not in words]  # another test has it
    assert [Path(script).stem for script, *_ in commands] == [
        "check",
        "train",
        "train",
        "resume",
        "evaluate",
        "export",
    ]
    (tmp_path / "my_conf").symlink_to(CONF)
    (_, *checked), (_, *first), (_, *second), *others = commands
    assert "FAILED" not in call("check", *checked).text
    text = process("train", *first)
    assert "step 1200 of 1200" in text
    assert "mean evaluation return 1.00" in text  # it learned to reach the end
    again = call("train", *second, "hydra.run.dir=run")
    assert "mean evaluation return 1.00" in again.text  # the same run
    results = [call(Path(script).stem, *arguments) for script, *arguments in others]
    assert [result.code for result in results] == [0, 0, 0], results
    status = json.loads(Path("run/status.json").read_text())
    assert (status["progress"]["tick"], status["result"]) == (2400, 1.0)
    assert "mean 1.00" in results[1].text
    assert "greatest difference" in results[2].text
    for script in ("resume", "evaluate"):
        assert "--trust my_package" in call(script, "run").text


def test_mellowmax_is_its_formula():
    """Asadi and Littman (2017), section 4, sample by sample; the target is compared."""
    from my_package.parts import Mellowmax

    q_next = torch.tensor([[[1.0, -0.5, 0.25], [-2.0, 2.0, 0.0]]])
    reward, discount = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.9, 0.0]])
    batch = Batch(torch.zeros(1, 2), torch.zeros(1, 2).long(), reward, discount, torch.zeros(1, 2))
    backup = Mellowmax(omega=3.0)
    values = backup(batch, q_next, online=None, target=None)
    target = target_of(values, batch, Expected(q_next, None)).mean()
    for i in range(2):
        mean = sum(math.exp(3.0 * float(q)) for q in q_next[0, i]) / 3
        expected = float(reward[0, i]) + float(discount[0, i]) * math.log(mean) / 3.0
        assert float(target[0, i]) == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(backup.state_values(q_next), values)


def test_as_a_library(tmp_path):
    run = dqn.train(["+experiment=corridor", "seed=3"], config_dir=CONF)
    assert run.result == 1.0
    policy = dqn.load(run.folder, trust=["my_package"])
    assert policy([1, 2, 3, 4]).tolist() == [1, 1, 1, 1]
    assert abs(policy.q_values([1, 2, 3, 4])).max() <= 2
    with pytest.raises(dqn.UserError, match="--trust my_package"):
        dqn.load(run.folder)
    with pytest.raises(ValueError, match="whole numbers in Discrete"):
        policy(0)


def test_a_core_learns_and_remembers():
    overrides = [
        "env.id=CartPole-v1",
        "network/core=average",
        "runner.total_steps=60",
        "runner.eval_episodes=0",
    ]
    overrides += ["runner.iteration_length=60", "runner.learning_starts=20", "runner.train_period=10"]
    policy = dqn.train(overrides, config_dir=CONF).load()
    obs = [1.0, 0.0, 0.0, 0.0]
    _, first = policy(obs, policy.start())
    _, second = policy(obs, first)
    assert np.allclose(second.state, 1.9 * first.state)  # 0.1 of what it sees, and 0.9 of that
    assert np.abs(first.state).max() > 0


@pytest.mark.parametrize("folder", [f"file://{CONF}", str(CONF), "file://conf", "conf", "pkg://conf"])
def test_searchpath(folder, tmp_path, monkeypatch):
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf" / "__init__.py").touch()  # required by Hydra
    monkeypatch.syspath_prepend(tmp_path)
    cosine = config_of(f"hydra.searchpath=['{folder}']", "schedule=cosine").schedule
    assert cosine == config_of("schedule=cosine", config_dir=CONF).schedule
    assert cosine._target_ == "my_package.parts.Cosine"


MISTAKES = [
    ("schedule=cosin", {"schedule=cosin": "type schedule=cosine; there are constant"}),
    ("schedule=cosine schedule.stop=1", {"schedule.stop=1": "schedule has start, end, duration"}),
    ("network/head=bound +experiment=corr", {"network/head=bound": "bounded", "experiment=corr": "corridor"}),
    ("schedule=cosine schedule.end=2", {"schedule.end=2": "less than or equal to 1"}),
    ("network/head=bounded network.head.bound=0", {"network.head.bound=0": "greater than 0"}),
    ("network/head=bounded +network.head.huber_delta=1", {"network.head.huber_delta=1": "head has bound"}),
    ("env=corridor env.kwargs.length=null", {"env.kwargs={'length': None}": "does not take them"}),
    ("hydra.searchpath=[file://nowhere]", {"hydra.searchpath=[file://nowhere]": "file://nowhere"}),
    ("hydra.searchpath=[pkg://nowhere] seed=x,y", {"hydra.searchpath=": "pkg://nowhere", "seed=x,y": "-m"}),
]


@pytest.mark.parametrize(("overrides", "keys"), MISTAKES, ids=[overrides for overrides, _ in MISTAKES])
def test_mistakes(overrides, keys, tmp_path):
    with pytest.raises(dqn.UserError) as error:
        dqn.train(overrides.split(), config_dir=CONF)
    named(str(error.value), keys)
    assert str(error.value).startswith(f"{len(keys)} mistake")
    assert tree(tmp_path) == {}


def test_no_such_folder(tmp_path):
    with pytest.raises(dqn.UserError, match=r"config-dir nowhere: should be a folder"):
        dqn.train(config_dir="nowhere")


@pytest.mark.process
def test_quick_answers_need_no_torch(tmp_path):
    right = "type schedule=cosine; there are constant"
    commands = {
        f"--config-dir {CONF} schedule=cosin": right,
        f"-m schedule=cosin,linear hydra.searchpath=[{CONF}]": right,
        "--config-dir nowhere schedule=cosine": "nowhere: should be a folder",
    }
    found = answers("train", [command.split() for command in commands], cwd=tmp_path, env=PATHS)
    for text, answer in zip(commands.values(), found, strict=True):
        assert text in answer.text
        assert (answer.code, answer.has_torch) == (1, False)


@pytest.mark.process
def test_multirun(tmp_path):
    arguments = ["-m", "--config-dir", str(CONF), "+experiment=corridor", "schedule=cosine"]
    arguments += ["hydra.sweep.dir=runs", "hydra.sweeper.report=false"]
    process("train", *arguments, "runner.total_steps=400")
    (status,) = (tmp_path / "runs").glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "finished"
