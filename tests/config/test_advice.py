"""Names that do not exist are answered with the nearest ones that do, in the words to type."""

import pytest
from helpers import ROOT
from hydra.core.override_parser.overrides_parser import OverridesParser

from dqn.config.advice import Advisor
from dqn.config.compose import compose, hydra_globals, make_loader
from dqn.config.meanings import Key, Option
from dqn.config.nearest import ELSEWHERE, closest, nearest_keys, nearest_options, titles
from dqn.errors import UserError

ANSWERS = {
    # what is typed: what the message says to type
    "lr=1e-3": "type agent.lr=1e-3",
    "learning_rate=1e-3": "type agent.lr=1e-3",
    "agent.learning_rate=1e-3": "type agent.lr=1e-3",
    "gamma=0.99": "type agent.gamma=0.99",
    "discount=0.99": "type agent.gamma=0.99",
    "agent/gamma=0.9": "type agent.gamma=0.9",
    "agent.gama=0.9": "did you mean agent.gamma=0.9? agent has ",
    "~agent.gama": "did you mean '~agent.gamma'? agent has ",
    "agent.tau=0.1": "did you mean runner.target_tau=0.1? agent has ",
    "env.max_steps=9": "did you mean env.max_episode_steps=9? env has ",
    "buffer_size=1000": "type memory.capacity=1000",
    "runner.train_frequency=8": "type runner.train_period=8",
    "network.hidden_sizes=[64,64]": "type 'network.torso.hidden_sizes=[64,64]' or ",
    "optimizer=adamw": "type agent/optimizer=adamw",
    "agent.head=c51": "type network/head=categorical",
    "memory.sampler.alpha=1": "type memory=prioritized memory.sampler.alpha=1 (or with memory=",
    "dueling=true": "type agent=dueling",
    "env.kwargs={max_episode_steps:50}": "type '+env.kwargs={max_episode_steps:50}' to add them",
    "env.kwargs.max_episode_steps=50": "type +env.kwargs.max_episode_steps=50 to add it",
    "runner.total_steps=50000": "type runner=steps runner.total_steps=50000",
    "total_timesteps=9": "type runner=steps runner.total_steps=9",
    "epsilon=0.1": "type schedule.start=0.1 or schedule.end=0.1",
    "nonsense=1": "there are ",
    # options
    "agent=ddqn": "type agent=double; there are ",
    "agent=DQN": "type agent=dqn; there are ",
    "agent=dueling_ddqn": "type agent=dueling_double; there are ",
    "memory=per": "type memory=prioritized; there are ",
    "network/head=iqn": "type network/head=implicit_quantile; there are ",
    "network=noisy": "type network/layer=noisy; there is only mlp",
    "network=cnn": "type network/torso=nature; there is only mlp",
    "agent=adamw": "type agent/optimizer=adamw; there are ",
    "env=CartPole-v1": "type env=cartpole",
    "env=lunar": "type env=lunarlander; there are ",
    "env=pong": "type env=atari env.game=Pong; there are ",
    "env=breakout": "type env=atari env.game=Breakout or env=minatar env.game=breakout; there are ",
    "env=PongNoFrameskip-v4": "type env=atari env.game=Pong; there are ",
    "env=Pendulum-v1": "for any other environment env=base env.id=Pendulum-v1",
    "schedule=expontial": "type schedule=exponential; there are ",
    "schedule=exp": "type schedule=exponential; there are ",
    "hydra/sweeper=optun": "type hydra/sweeper=optuna; there are ",
    "runner=null": "should be one of ",
    # recipes
    "experiment=cartpol": "type +experiment=cartpole",
    "+experiment=cartpol": "type +experiment=cartpole",
    "+experiment=acrobot": "or +experiment=zoo/acrobot",
}


@pytest.fixture(scope="module")
def composed():
    return compose(["runner=episodes", "schedule=linear"])


@pytest.fixture(scope="module")
def parser():
    with hydra_globals():
        yield OverridesParser.create(config_loader=make_loader(None))


def problem_of(typed, composed, advisor, parser):
    (override,) = parser.parse_overrides([typed])
    return advisor.wrong_option(override) or f"{typed}: {advisor.unknown_key(override, composed.config)}"


@pytest.fixture(scope="module")
def advisor(composed):
    return Advisor(composed.loader, [])


@pytest.mark.parametrize(("typed", "instead"), ANSWERS.items(), ids=ANSWERS)
def test_answers(typed, instead, composed, advisor, parser):
    assert instead in problem_of(typed, composed, advisor, parser)


def test_a_corrected_word_is_answered_with_all_that_is_wrong():
    with pytest.raises(UserError) as error:
        compose(["--lr", "3", "--seed=3", "experiment=zoo/acrobot"])
    first, *others = str(error.value).splitlines()
    assert first == "3 mistakes in the command:"
    assert sorted(line.strip() for line in others) == [
        "--lr 3: no such key; type agent.lr=3",
        "--seed=3: should be seed=3",
        "experiment=zoo/acrobot: should be +experiment=zoo/acrobot",
    ]


def test_options_of_a_user_are_near_too(tmp_path, composed, parser):
    (tmp_path / "agent").mkdir()
    file = tmp_path / "agent" / "mellow.yaml"
    file.write_text("# Soft Maximum DQN: mine.\ndefaults: [dqn]\nomega: 1 # sharpness")
    searchpath = parser.parse_overrides([f"hydra.searchpath=[{tmp_path}]"])
    for advisor in (Advisor(make_loader(tmp_path), []), Advisor(composed.loader, searchpath)):
        assert "type agent=mellow;" in problem_of("agent=smdqn", composed, advisor, parser)
        assert "type agent=mellow agent.omega=3" in problem_of("sharpness=3", composed, advisor, parser)


def test_names_elsewhere_lead_to_names_here():
    names = {path.stem for path in ROOT.joinpath("conf").rglob("*.yaml")}
    text = "".join(path.read_text() for path in ROOT.joinpath("conf").rglob("*.yaml"))
    assert [name for name in ELSEWHERE if name not in names and f"{name}:" not in text] == []


def test_nearest_keys():
    near, far = {"a.size": "units of a layer", "b.size": ""}, {"c.other_size": "", "a.far": ""}
    assert nearest_keys("size", [near, far]) == (["a.size", "b.size"], False)
    assert nearest_keys("b.size", [near]) == (["b.size"], False)
    assert nearest_keys("b.Siz", [near]) == (["b.size"], True)
    assert nearest_keys("units", [near]) == (["a.size"], False)
    assert nearest_keys("b.units", [near]) == (["a.size"], False)
    assert nearest_keys("fahr", [near, far]) == (["a.far"], True)
    assert nearest_keys("other", [near, far]) == (["c.other_size"], True)
    assert nearest_keys("nonsense", [near, far]) == ([], True)


def test_nearest_options():
    options = [
        Option("a", "one", "Large One: the first.", keys=[Key("a.id", "Id-v1", "")]),
        Option("a/b", "two"),
        Option("c", "three", "Prioritized replay, proportional."),
    ]
    for group, name, found in (
        *(("a", name, ["one"]) for name in ("One", "onee", "Id-v1", "large_one", "lo", "lone")),
        *(("a", "two", ["two"]), ("b", "two", ["two"]), ("", "pr", ["three"]), ("a", "first", [])),
    ):
        assert [option.name for option in nearest_options(group, name, options)] == found, name


def test_words_that_a_comment_starts_with():
    assert titles("Double DQN: the online network") == {"doubledqn", "dd", "ddqn"}
    assert titles("") == set()
    assert closest("gama", ["gamma", "lr"]) == ["gamma"]
