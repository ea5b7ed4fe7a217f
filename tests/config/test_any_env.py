"""`env.id=ID` alone has the all-round values, and a user's option of `env` those that it starts from."""

import pytest
from helpers import TINY_STEPS, USER

import dqn
from dqn.config.any_env import with_base
from dqn.config.compose import compose


@pytest.mark.parametrize(
    "words",
    [
        ["agent=double", "env.id=Acrobot-v1"],
        ["env.module=parts", "env.id=A,B"],
        ["--cfg", "job", "++env.id=Acrobot-v1"],
        ["env=document", "env.id=Acrobot-v1"],
        ["env.id=Acrobot-v1", "env=acrobot,base"],
        ["env.max_episode_steps=9", "agent=double"],
        ["env.identity=1"],
    ],
    ids=" ".join,
)
def test_without_a_recipe(words):
    alone = not any(word.startswith(("env=", "env.max", "env.identity")) for word in words)
    assert with_base(words) == ([*words[:-1], "env=base", words[-1]] if alone else words)


def test_a_recipe_keeps_the_option_that_it_chooses(tmp_path):
    words = ["+experiment=corridor", "env.id=Acrobot-v1"]
    assert with_base(words, USER / "my_conf") == words
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nagent:\n  lr: 1e-3\n")
    words = ["+experiment=mine", "env.id=Acrobot-v1"]
    assert with_base(words, tmp_path) == ["+experiment=mine", "env=base", "env.id=Acrobot-v1"]


def test_it_is_recorded(tmp_path):
    run = dqn.train([*TINY_STEPS, "env.id=Acrobot-v1", f"hydra.run.dir={tmp_path / 'run'}"])
    assert (run.config["agent"]["gamma"], run.config["env"]["reward_scale"]) == (0.99, 1.0)
    assert "- env=base\n- env.id=Acrobot-v1\n" in (run.folder / ".hydra" / "overrides.yaml").read_text()


def test_options_of_a_user(tmp_path):
    (tmp_path / "env").mkdir()
    options = {
        "mine": "defaults: [base, _self_]\nid: MountainCar-v0\n",
        "derived": "defaults: [acrobot, _self_]\nmax_episode_steps: 300\n",
    }
    for name, text in options.items():
        (tmp_path / "env" / f"{name}.yaml").write_text(text)
    mine, derived = (compose([f"env={name}"], config_dir=tmp_path).config for name in options)
    acrobot, base = (compose([f"env={name}"]).config for name in ("acrobot", "base"))
    assert (mine.env.id, derived.env.id, derived.env.max_episode_steps) == (
        "MountainCar-v0",
        "Acrobot-v1",
        300,
    )
    assert (mine.agent, mine.runner) == (base.agent, base.runner)
    assert (derived.agent, derived.runner) == (acrobot.agent, acrobot.runner)
