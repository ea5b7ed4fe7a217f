"""Every option composes, is valid, builds, and is read; conf/ is the only place of default values."""

import inspect

import pytest
import yaml
from helpers import config_of, make_runner
from hydra.utils import get_object

from dqn.config.check import check
from dqn.config.paths import CONF
from dqn.config.trust import leaves

GROUPS = ("env", "memory", "schedule", "network", "agent", "runner", "network/torso", "network/head")
GROUPS += ("network/layer", "memory/reader", "agent/optimizer", "agent/lr_schedule", "agent/backup")


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


EVERY = [[f"{group}={option}"] for group in GROUPS for option in options(group)]
EVERY += [[f"+experiment={option}"] for option in options("experiment")]
EVERY += [["runner=steps", "agent=double", "schedule=exponential"], ["runner=steps", "schedule=constant"]]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_option_composes_and_builds(tmp_path, words):
    runner = make_runner(tmp_path, words)
    runner.env.close()


def test_default_is_the_documents_experiment():
    config = config_of([])
    values = {key: value for key, value in leaves(config) if not key.endswith(("_target_", "_partial_"))}
    document = {
        "env.id": "CartPole-v1",
        "network.torso.hidden_sizes[0]": 128,
        "agent.lr": 5e-4,
        "agent.gamma": 1.0,
        "network.head.huber_delta": 1.0,
        "runner.batch_size": 256,
        "memory.capacity": 50_000,
        "runner.total_episodes": 3000,
        "runner.learning_starts": 2000,
        "runner.train_period": 1,
        "runner.updates_per_train": 1,
        "runner.target_period": 10,
        "runner.target_tau": 1.0,
        "runner.iteration_length": 100,
        "schedule.start": 0.08,
        "schedule.end": 0.01,
        "schedule.duration": 1400,
        "env.reward_scale": 0.01,
        "env.time_limit_is_terminal": True,
        "memory.reader.n_step": 1,
    }
    assert {key: values[key] for key in document} == document
    assert config["agent"]["optimizer"]["_target_"] == "torch.optim.Adam"
    assert config["agent"]["backup"]["_target_"] == "dqn.backup.Greedy"


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_no_default_value_outside_conf(words):
    """A constructor of ours that conf/ names has no defaults: each value stands once."""
    for key, value in leaves(config_of(words)):
        if key.endswith("_target_") and value.startswith("dqn."):
            parameters = inspect.signature(get_object(value)).parameters.values()
            assert all(p.default is p.empty for p in parameters), value


def test_experiments_set_only_keys_that_exist():
    """A value for a key that its groups do not have would be an addition, which nothing reads."""
    for option in options("experiment"):
        text = yaml.safe_load((CONF / "experiment" / f"{option}.yaml").read_text())
        assert check(config_of([f"+experiment={option}"])).problems == []
        assert text["name"] == option


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        (["env.time_limit_is_terminal=false"], "agent.gamma=1"),
        (["runner=steps", "runner.iteration_length=100"], "time limit"),
        (["runner=steps", "env.num_envs=20"], "time limit"),
    ],
)
def test_warnings(words, warning):
    report = check(config_of(words))
    assert report.problems == []
    assert any(warning in one for one in report.warnings)
    assert check(config_of([])).warnings == []
