"""`train.py --help`: every key with its meaning and its composed value, in lines that a terminal shows."""

import re

import pytest
from commands import call
from omegaconf import OmegaConf

from dqn.cli.help import WIDTH, help_text, recipes
from dqn.config.commands import COMMANDS
from dqn.config.compose import compose
from dqn.config.meanings import Option
from dqn.storage.flatten import entries

OWN = """
# Mine.
defaults: [dqn, _self_]
max_grad_norm: 0.25 # how hard I clip
"""


@pytest.fixture(scope="module")
def rainbow():
    """Return a composed configuration and its help."""
    composed = compose(["agent=rainbow", "agent.lr=0.125"])
    return composed, help_text(composed)


def test_every_key_has_its_value_and_a_meaning(rainbow):
    composed, text = rainbow
    config = OmegaConf.to_container(composed.config)
    keys = [
        key for key, name, value in entries(config, lists=False) if value == {} or not isinstance(value, dict)
    ]
    keys = [key for key in keys if not key.startswith("hydra.") and not key.endswith("_")]
    assert len(keys) > 40
    for key in keys:
        assert re.search(rf"^  {re.escape(key)}=\S+( +|\n {{40}})\S", text, re.MULTILINE), key
    assert re.search(r"^  agent.lr=0.125 +learning rate", text, re.MULTILINE)
    assert not re.search(r"_(target|partial)_=", text)


def test_groups_commands_and_recipes(rainbow):
    _, text = rainbow
    assert re.search(r"^agent=rainbow +or c51, double", text, re.MULTILINE)
    assert re.search(r"^network/layer=noisy +or linear$", text, re.MULTILINE)
    assert re.search(r"^hydra/launcher=processes +or ray, slurm$", text, re.MULTILINE)
    assert re.search(r"^  zoo/ +acrobot, ", text, re.MULTILINE)
    assert "--cfg job" in text
    for name in COMMANDS:
        assert f"dqn-{name}\n" in text
    assert [line for line in text.splitlines() if len(line) > WIDTH and "dqn-train" not in line] == []


def test_parts_of_recipes_are_not_listed():
    options = [
        Option("experiment", "a"),
        Option("experiment/x", "b"),
        Option("experiment/x/y", "c"),
        Option("env", "d"),
    ]
    assert [line.split() for line in recipes(options)] == [["a"], ["x/", "b"]]


def test_options_of_a_user(tmp_path):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "mine.yaml").write_text(OWN)
    (tmp_path / "agent" / "broken.yaml").write_text("a: [")
    answer = call("train", "--help", "--config-dir", tmp_path, "agent=mine")
    assert answer.code == 0
    assert re.search(r"^agent=mine +or c51", answer.text, re.MULTILINE)
    assert re.search(r"^  agent.max_grad_norm=0.25 +how hard I clip", answer.text, re.MULTILINE)
    assert re.search(r"^  agent.gamma=\S+ +discount", answer.text, re.MULTILINE)


def test_mistakes_come_before_the_help():
    answer = call("train", "--help", "agent.lrr=1")
    assert answer.code == 1
    assert "agent.lrr=1: no such key" in answer.text
