"""env.wrappers and env.training_wrappers: composed, checked, trained with, resumed, loaded."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from commands import call, tree
from helpers import FINISHED, TINY_STEPS, USER, config_of, make_runner
from records import read_metrics

import dqn
from dqn.cli.check import examine_parts
from dqn.config.preflight import preflight
from dqn.config.summary import trusting
from dqn.config.trust import WRAPPERS
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.errors import UserError
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder

G = "gymnasium.wrappers"
LIMIT = f"{{_target_: {G}.TimeLimit, max_episode_steps: 20}}"
CLIP = f"{{_target_: {G}.ClipReward, max_reward: 0.5}}"
STACK = f"{{_target_: {G}.FrameStackObservation, stack_size: 3}}"
UNIT = f"{{_target_: {G}.RescaleObservation, min_obs: [0, -1], max_obs: [1, 0.5]}}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(USER)


def env_of(*overrides: str) -> gymnasium.Env:
    """Return a training environment of checked overrides."""
    config = config_of(list(overrides))
    assert check(config).problems == []
    return env_factory(config["env"]).make_wrapped(training=True)


def test_without_arguments_or_with():
    env = env_of(f"env.wrappers=[{{_target_: {G}.TimeAwareObservation}}, {LIMIT}]")
    assert env.observation_space.shape == (5,)
    assert env.spec.max_episode_steps == 20
    assert isinstance(env, gymnasium.wrappers.TimeLimit)


def test_lists_become_arrays_and_tuples():
    """YAML has neither; the annotations of a wrapper's arguments decide."""
    env = env_of("env=mountaincar", f"env.wrappers=[{UNIT}]")
    np.testing.assert_allclose(env.observation_space.low, [0, -1])
    np.testing.assert_allclose(env.observation_space.high, [1, 0.5])
    env = env_of(f"env.wrappers=[{{_target_: {G}.ReshapeObservation, shape: [2, 2]}}]")
    assert env.observation_space.shape == (2, 2)


def test_a_function_as_argument():
    func = "{_target_: math.sqrt, _partial_: true}"
    env = env_of(f"env.wrappers=[{{_target_: {G}.TransformReward, func: {func}}}]", "env.kwargs={}")
    env.reset(seed=0)
    assert env.step(0)[1] == 1.0


def test_continuous_actions_made_discrete():
    discrete = f"{{_target_: {G}.DiscretizeAction, bins: 5}}"
    assert env_of("env.id=Pendulum-v1", f"env.wrappers=[{discrete}]").action_space.n == 5


def test_statistics_that_start_over_are_warned_of():
    for name, count in (("NormalizeObservation", 1), ("FlattenObservation", 0)):
        report = check(config_of([f"env.wrappers=[{{_target_: {G}.{name}}}]"]))
        assert [f"env.wrappers[0]={G}.{name}" in one for one in report.warnings] == [True] * count


ENTRY = "{_target_: CLASS, ARGUMENT: VALUE}"
MISTAKES = [
    # an entry of env.wrappers, {start of a line of the message: what would be right}
    (f"{{_target_: {G}.Nothing}}", {f"env.wrappers[0]._target_={G}.Nothing": "a class or a function"}),
    ("{_target_: no.such}", {"env.wrappers[0]._target_=no.such": "No module named 'no'"}),
    (
        f"{{_target_: {G}.TimeLimit}}",
        {"env.wrappers[0].max_episode_steps is missing": "max_episode_steps: V"},
    ),
    (
        f"{{_target_: {G}.TimeLimit, steps: 5, max_episode_steps: 5}}",
        {"env.wrappers[0].steps=5": "env.wrappers[0] has max_episode_steps"},
    ),
    (
        f"{{_target_: {G}.TimeLimit, max_episode_steps: x}}",
        {"env.wrappers[0].max_episode_steps=x": "a whole number"},
    ),
    (
        f"{{_target_: {G}.TimeLimit, max_episode_steps: 1.5}}",
        {"env.wrappers[0].max_episode_steps=1.5": "a whole number"},
    ),
    (f"{{_target_: {G}.TimeLimit, max_episode_steps: 0}}", {"env.wrappers[0]={": "to be positive"}),
    (f"{{_target_: {G}.TimeLimit, env: 1, max_episode_steps: 9}}", {"env.wrappers[0].env=1": "left out"}),
    (
        f"{{_target_: {G}.TimeLimit, max_episode_steps: 9, _partial_: true}}",
        {"env.wrappers[0]._partial_=true": "left out"},
    ),
    (
        f"{{_target_: {G}.GrayscaleObservation}}",
        {"env.wrappers[0]={": "cannot wrap CartPole-v1 (ValueError: Gray"},
    ),
    (
        f"{{_target_: {G}.RescaleObservation, min_obs: low, max_obs: [1]}}",
        {"env.wrappers[0].min_obs=low": "a number"},
    ),
    (f"{{_target_: {G}.TransformReward, func: os.system}}", {"env.wrappers[0].func=os.system": "callable"}),
    (
        f"{{_target_: {G}.TransformReward, func: {{_target_: no.such}}}}",
        {"env.wrappers[0].func._target_=no.such": "a class or a function"},
    ),
    ("{_target_: my_package.wrappers.StepCost, cost: -1}", {"env.wrappers[0].cost=-1": "greater than 0"}),
    ("{_target_: os.system}", {"env.wrappers[0]={'_target_': 'os.system'}": "cannot be created"}),
    ("{_target_: os.getcwd}", {"env.wrappers[0]={'_target_': 'os.getcwd'}": "cannot wrap CartPole-v1"}),
    ("{_target_: wrapped.nothing}", {"env.wrappers[0]={": "should return an environment, not NoneType"}),
    ("{_target_: wrapped.Late}", {"env.wrappers[0]={": "cannot wrap CartPole-v1 (RuntimeError: too late)"}),
    ("{max_episode_steps: 5}", {"env.wrappers[0]={": ENTRY}),
    (f"{G}.TimeLimit", {f"env.wrappers[0]={G}.TimeLimit": ENTRY}),
    ("5", {"env.wrappers[0]=5": ENTRY}),
    (
        f"{LIMIT}, {{_target_: {G}.FilterObservation, filter_keys: 3}}, {{_target_: {G}.Nope}}",
        {"env.wrappers[1].filter_keys=3": "Sequence", "env.wrappers[2]._target_=": "Nope"},
    ),
]


def assert_refused(overrides: list[str], keys: dict[str, str], folder: Path) -> None:
    with pytest.raises(UserError) as error:
        preflight(config_of(overrides), RunFolder(folder / "run"), overrides)
    first, *lines = [line.strip() for line in str(error.value).splitlines()]
    assert first.startswith(f"{len(keys)} mistake")
    assert len(lines) == len(keys), lines
    for line, (key, right) in zip(lines, keys.items(), strict=True):
        assert line.startswith(key), line
        assert right in line.removeprefix(key), line
    assert tree(folder) == {}


@pytest.mark.parametrize(("entry", "keys"), MISTAKES, ids=[entry for entry, _ in MISTAKES])
def test_mistakes(entry, keys, tmp_path):
    assert_refused([f"env.wrappers=[{entry}]"], keys, tmp_path)
    keys = {key.replace("env.wrappers", "env.training_wrappers"): right for key, right in keys.items()}
    keys = {key: right.replace("env.wrappers", "env.training_wrappers") for key, right in keys.items()}
    assert_refused([f"env.training_wrappers=[{entry}]"], keys, tmp_path)


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        ("env.wrappers=null", {"env.wrappers=null": f"[{ENTRY}]"}),
        ("env.wrappers=5", {"env.wrappers=5": f"[{ENTRY}]"}),
        ("~env.wrappers", {"env.wrappers is missing": f"[{ENTRY}]"}),
        (f"env.training_wrappers=[{STACK}]", {"env.training_wrappers[0]={": "env.wrappers may change them"}),
        ("env=base", {"env.id=???": "be given"}),
        ("env.id=Pendulum-v1", {"env.id=Pendulum-v1": "gymnasium.wrappers.DiscretizeAction in env.wrappers"}),
    ],
)
def test_other_mistakes(overrides, keys, tmp_path):
    assert_refused([overrides], keys, tmp_path)


def test_the_command_makes_nothing(tmp_path):
    result = call("train", f"env.wrappers=[{{_target_: {G}.GrayscaleObservation}}]", "agent.lr=-1")
    assert result.code == 1
    assert result.text.startswith("2 mistakes in the configuration:")
    assert tree(tmp_path) == {}


def test_evaluation_has_no_training_wrappers(tmp_path):
    """Returns of training are those of the training wrappers."""
    overrides = [*TINY_STEPS, f"env.wrappers=[{LIMIT}]", f"env.training_wrappers=[{CLIP}]"]
    runner = make_runner(tmp_path, [*overrides, "runner.eval_period=1", "runner.eval_episodes=8"])
    runner.run()
    (lines,) = read_metrics(tmp_path).values()
    episodes = [line for line in lines if "train/return" in line]
    assert len(episodes) > 10
    assert all(line["train/return"] == line["train/length"] / 2 for line in episodes)
    assert max(line["train/length"] for line in episodes) <= 20
    returns = np.array(runner.counters.evaluation["0"])
    assert np.array_equal(returns, np.round(returns))
    assert returns.min() >= 8
    assert returns.max() <= 20


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_resume_is_exact(tmp_path, vectorization):
    overrides = [*TINY_STEPS, f"env.wrappers=[{STACK}]", f"env.training_wrappers=[{CLIP}]", "num_seeds=2"]
    overrides += [f"env.vectorization={vectorization}", "env.num_envs=2"]
    whole = dqn.train([*overrides, "hydra.run.dir=whole"]).folder
    first = dqn.train([*overrides, "hydra.run.dir=parts", "runner.total_steps=200"]).folder
    assert Checkpoint(first).iteration() == 1
    assert call("resume", first, "runner.total_steps=400").code == 0
    assert read_metrics(whole) == read_metrics(first)
    one, other = (Checkpoint(folder).load("policy") for folder in (whole, first))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_loaded_policy_and_its_environment(tmp_path):
    run = dqn.train([*FINISHED, f"env.wrappers=[{STACK}, {LIMIT}]", f"env.training_wrappers=[{CLIP}]"])
    policy = dqn.load(run.folder)
    env = policy.make_env()
    obs, _ = env.reset(seed=0)
    assert obs.shape == policy.observation_space.shape == (3, 4)
    _, reward, *_ = env.step(policy(obs))
    assert reward == 1.0, "no training wrapper"
    assert env.spec.max_episode_steps == 20
    assert policy.make_env(max_episode_steps=7).spec.max_episode_steps == 20
    assert policy.make_env(render_mode="rgb_array").render_mode == "rgb_array"
    with pytest.raises(UserError, match=r"env\.kwargs=.*does not take them"):
        policy.make_env(nonsense=1)
    assert call("evaluate", run.folder, "episodes=2").code == 0
    assert call("export", run.folder, "policy.pt2").code == 0


def test_custom_wrapper(tmp_path):
    """The example of the documentation: a custom option with a custom wrapper."""
    overrides = ["+experiment=corridor", "env=costly_corridor"]
    run = dqn.train(overrides, config_dir=USER / "my_conf")
    assert run.result == pytest.approx(1 - 4 * 0.1)
    with pytest.raises(UserError, match=r"_target_=my_package.*--trust my_package"):
        dqn.load(run.folder)
    env = dqn.load(run.folder, trust=["my_package"]).make_env()
    assert env.reset(seed=0)[0] == 1, "the environment's own observations"
    assert env.step(1)[1] == -0.1


def test_packages_that_a_run_needs():
    overrides = f"env.wrappers=[{{_target_: wrapped.plus, amount: 1.0}}, {STACK}]"
    assert trusting(config_of([overrides])) == " --trust wrapped"
    assert trusting(config_of([f"env.wrappers=[{STACK}]", f"env.training_wrappers=[{CLIP}]"])) == ""
    assert trusting(config_of(["env=catch"])) == ""
    views = "{_target_: minigrid.wrappers.FullyObsWrapper}, {_target_: dqn.env.OneHotGrid}"
    words = ["env=minigrid", "env.id=MiniGrid-Empty-8x8-v0", f"env.wrappers=[{views}]"]
    assert trusting(config_of(words)) == ""


def test_wrappers_that_a_run_may_name_are_gymnasiums():
    names = {f"{G}.{name}" for name in gymnasium.wrappers.__all__}
    assert names > WRAPPERS
    left_out = {name.rpartition(".")[2] for name in names - WRAPPERS}
    files_windows_packages = {"RecordVideo", "HumanRendering"}
    files_windows_packages |= {"ArrayConversion", "JaxToNumpy", "JaxToTorch", "NumpyToTorch"}
    assert left_out >= files_windows_packages


def test_conformance():
    def finding(entry: str) -> Any:
        return next(iter(examine_parts([f"env.wrappers=[{entry}]"], None, ["env"])))

    assert finding("{_target_: wrapped.plus, amount: 1.0}").state == "ok"
    found = finding("{_target_: wrapped.Noise}")
    assert found.state == "FAILED"
    assert "randomness should come from" in found.detail


def test_a_run_makes_three_environments_more_than_it_plays(made):
    """One serves the checks and the building of the run, two show whether the seed counts."""
    dqn.train([*FINISHED, f"env.wrappers=[{LIMIT}]", "runner.eval_period=1", "runner.eval_episodes=3"])
    assert len(made) == 1 + 2 + 2 * (1 + 3)
