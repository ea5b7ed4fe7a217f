"""All mistakes of a user are reported in one message with key and value; nothing is created or changed."""

import importlib.util
import json
import subprocess
import sys
import time

import pytest
import torch
from commands import SCRIPTS, TINY, answers, call, child_seconds, named, run, tree
from helpers import FINISHED, config_of

from dqn.config.compose import compose
from dqn.config.overrides import in_shell
from dqn.config.preflight import preflight
from dqn.errors import UserError, install
from dqn.storage.folder import RunFolder

STEPS = "runner=steps"

VALUES = [
    # overrides, {start of a line of the message: what would be right}
    ("agent.lr=-1", {"agent.lr=-1": "greater than 0"}),
    ("agent.lr=fast", {"agent.lr=fast": "a number"}),
    ("agent.lr=nan", {"agent.lr=nan": "a finite number"}),
    ("agent.lr=true", {"agent.lr=true": "a number, not true or false"}),
    ("agent.lr='1'", {"agent.lr=1": "a number, not text"}),
    ("agent.gamma=1.5", {"agent.gamma=1.5": "less than or equal to 1"}),
    ("agent.gamma=nan", {"agent.gamma=nan": "a finite number"}),
    ("agent=munchausen agent.backup.clip=1", {"agent.backup.clip=1": "less than or equal to 0"}),
    ("agent.max_grad_norm=0", {"agent.max_grad_norm=0": "greater than 0"}),
    ("schedule.start=2", {"schedule.start=2": "less than or equal to 1"}),
    ("schedule=exponential schedule.end=0", {"schedule.end=0": "greater than 0"}),
    ("num_seeds=0", {"num_seeds=0": "greater than 0"}),
    ("num_seeds=true", {"num_seeds=true": "a whole number, not true or false"}),
    ("num_seeds=1.5", {"num_seeds=1.5": "a whole number"}),
    (f"seed={2**63}", {f"seed={2**63}": "less than 9223372036854775808"}),
    ("seed=-1", {"seed=-1": "greater than or equal to 0"}),
    ("device=tpu", {"device=tpu": "should be auto, cpu, cuda, cuda:N or mps"}),
    ("device=cuda:01", {"device=cuda:01": "should be auto, cpu, cuda, cuda:N or mps"}),
    ("device=3", {"device=3": "should be text"}),
    ("name=a/b", {"name=a/b": "one folder"}),
    ("name=..", {"name=..": "one folder"}),
    ("network.torso.hidden_sizes=[0]", {"network.torso.hidden_sizes=[0]": "greater than 0"}),
    ("network.torso.hidden_sizes=[8,1.5]", {"network.torso.hidden_sizes=[8, 1.5]": "a whole number"}),
    ("network.torso.hidden_sizes=8", {"network.torso.hidden_sizes=8": "'network.torso.hidden_sizes=[8]'"}),
    ("network.head.huber_delta=-1", {"network.head.huber_delta=-1": "greater than 0"}),
    ("env.reward_scale=inf", {"env.reward_scale=inf": "a finite number"}),
    ("env.reward_scale=0", {"env.reward_scale=0": "greater than 0"}),
    ("env.vectorization=threads", {"env.vectorization=threads": "'sync' or 'async'"}),
    ("env.kwargs=null", {"env.kwargs=null": "a dictionary, {NAME: VALUE}"}),
    ("env.id=null", {"env.id=null": "should be text"}),
    ("env.max_episode_steps=0", {"env.max_episode_steps=0": "greater than 0"}),
    ("runner.eval_num_envs=0", {"runner.eval_num_envs=0": "greater than 0"}),
    ("runner.eval_max_steps=1.5", {"runner.eval_max_steps=1.5": "a whole number"}),
    # what a newcomer types instead of the right kind of value
    ("agent.max_grad_norm=None", {"agent.max_grad_norm=None": "; type agent.max_grad_norm=null"}),
    ("name=5", {"name=5": "; type \"name='5'\""}),
    ("env.kwargs=a:1", {"env.kwargs=a:1": "; type '+env.kwargs={NAME: VALUE}'"}),
    ("agent.lr=[1e-3,1e-4]", {"agent.lr=[0.001, 0.0001]": "; type -m agent.lr=0.001,0.0001"}),
    ("num_threads=100000", {"num_threads=100000": "less than or equal to 1024"}),
    # contradictions
    (
        "env.max_episode_steps=9 +env.kwargs.max_episode_steps=8",
        {"env.max_episode_steps=9": "null where env.kwargs has max_episode_steps"},
    ),
    (
        "memory.capacity=10",
        {"memory.capacity=10": "runner.batch_size=256", "runner.learning_starts=2000": "10"},
    ),
    ("runner.learning_starts=50001", {"runner.learning_starts=50001": "at most memory.capacity=50000"}),
    (
        "runner.total_episodes=150",
        {"runner.total_episodes=150": "=200 or runner.total_episodes=150 runner.iteration_length=75"},
    ),
    (
        "runner.total_episodes=50",
        {"runner.total_episodes=50": "=100 or runner.total_episodes=50 runner.iteration_length=50"},
    ),
    (
        f"{STEPS} runner.total_steps=7 runner.iteration_length=5",
        {"runner.total_steps=7": "a multiple of runner.iteration_length=5; type runner.total_steps=5"},
    ),
    (
        f"{STEPS} env.num_envs=3 runner.total_steps=1000 runner.iteration_length=1000",
        {"runner.iteration_length=1000": "a multiple of env.num_envs=3"},
    ),
    ("agent=c51 network.head.v_min=0 network.head.v_max=0", {"network.head.v_max=0": "network.head.v_min=0"}),
    ("env.num_envs=2", {"env.num_envs=2": "1 with runner=episodes"}),
    (
        f"{STEPS} env.num_envs=100 runner.batch_size=2 runner.learning_starts=2 memory.capacity=250",
        {"memory.capacity=250": "(memory.reader.n_step=1 + env.frame_stack=1 + 1) * env.num_envs=100"},
    ),
    (
        "env.frame_stack=4 memory.reader.n_step=2 runner.batch_size=2 memory.capacity=6",
        {"memory.capacity=6": "(memory.reader.n_step=2 + env.frame_stack=4 + 1) * env.num_envs=1"},
    ),
    # environments
    ("env.id=NoSuch-v0", {"env.id=NoSuch-v0": "a registered environment"}),
    ("env.id=no_such_package:Env-v0", {"env.id=no_such_package:Env-v0": "no such package"}),
    (
        "env.id=MinAtar/SpaceInvaders-v1",
        {"env.id=MinAtar/SpaceInvaders-v1": "; type env=minatar env.game=space_invaders"},
    ),
    ("env=minatar", {"env.game=null": "given as env.game=NAME, one of asterix, breakout, freeway, seaquest"}),
    ("env=minatar env.game=braekout", {"env.game=braekout": "no such game; did you mean breakout?"}),
    (
        "env=minatar/breakout runner.total_steps=9",
        {"env=minatar/breakout": "should be one of acrobot, atari"},
    ),
    (
        "env=ALE/Pong-v5",
        {"env=ALE/Pong-v5": "type env=atari env.game=Pong"},
    ),
    ("+experiment=minatr runner.total_steps=9", {"experiment=minatr": "type +experiment=minatar"}),
    ("env=minigrid", {"env.id=???": "should be given as env.id=VALUE"}),
    (
        "env=cartpole env.game=Pong",
        {"env.game=Pong": "null: env.id=CartPole-v1 is not made of it; env=atari"},
    ),
    (
        "env=minatar env.game=breakout env.kwargs.sticky=2 +env.kwargs.ramping=false",
        {"env.kwargs.sticky=2": "less than or equal to 1", "env.kwargs.ramping=false": "no such key"},
    ),
    ("env.id=CartPola-v1", {"env.id=CartPola-v1": "`CartPole`?); env.module=PACKAGE names the package"}),
    ("env.id=Pendulum-v1", {"env.id=Pendulum-v1": "a Discrete space"}),
    ("env.module=no_such_package", {"env.module=no_such_package": "no such package"}),
    ("+env.kwargs.nonsense=1", {"env.kwargs={'nonsense': 1}": "CartPole-v1 does not take them"}),
    # keys
    ("+agent.foo=1", {"agent.foo=1": "agent has backup, optimizer, lr, lr_schedule, gamma"}),
    ("+runner.foo=1", {"runner.foo=1": "total_episodes"}),
    ("+foo=1", {"foo=1": "num_seeds"}),
    ("~agent.lr", {"agent.lr is missing": "agent.lr=VALUE"}),
    ("~agent.gamma ~env.num_envs", {"agent.gamma is missing": "=VALUE", "env.num_envs is missing": "=VALUE"}),
    ("~seed ~memory", {"seed is missing": "seed=VALUE", "memory is missing": "memory=OPTION"}),
    ("~network.torso", {"network.torso is missing": "network/torso=OPTION"}),
    ("network.torso=5", {"network.torso=5": "network/torso=OPTION"}),
    ("memory=prioritized memory.sampler.alpha=2", {"memory.sampler.alpha=2": "less than or equal to 1"}),
    (
        "memory=prioritized memory.sampler.max_weight=all memory.sampler.epsilon=0",
        {
            "memory.sampler.max_weight=all": "'batch' or 'buffer'",
            "memory.sampler.epsilon=0": "greater than 0",
        },
    ),
    (
        "memory=prioritized memory.sampler.beta=0.4",
        {"memory.sampler.beta=0.4": "a _target_ and its keys"},
    ),
    (
        "memory=prioritized memory.sampler.beta.end=2",
        {"memory.sampler.beta.end=2": "less than or equal to 1"},
    ),
    ("memory.reader=null", {"memory.reader=null": "memory/reader=OPTION"}),
    ("+memory.gamma=0.5", {"memory.gamma=0.5": "agent.gamma sets it"}),
    (
        "+memory.num_envs=2 +agent.seeds=[7]",
        {"memory.num_envs=2": "env.num_envs", "agent.seeds=[7]": "num_seeds"},
    ),
    # parts
    ("+agent.optimizer.lr=0.1", {"agent.optimizer.lr=0.1": "agent.lr sets it"}),
    ("+agent.optimizer.nope=1", {"agent.optimizer.nope=1": "betas, eps"}),
    ("agent.optimizer.betas=[2,3]", {"agent.optimizer.betas=[2, 3]": "less than 1"}),
    ("agent.optimizer.eps=small", {"agent.optimizer.eps=small": "a number"}),
    ("agent.optimizer._target_=torch.optim.SGD", {"agent.optimizer.betas=": "momentum"}),
    ("agent.backup._target_=no.such", {"agent.backup._target_=no.such": "No module named 'no'"}),
    (
        "agent.backup._target_=dqn.agent.backup.Nothing",
        {"agent.backup._target_=dqn.agent.backup.Nothing": "a class"},
    ),
    ("agent.backup._target_=5", {"agent.backup._target_=5": "a class or a function"}),
    ("agent.backup=5", {"agent.backup=5": "agent/backup=OPTION"}),
    ("agent.backup=double", {"agent.backup=double": "agent/backup=double"}),
    ("agent._partial_=false", {"agent._partial_=false": "true"}),
    ("+schedule._partial_=true", {"schedule._partial_=true": "false"}),
    ("+agent.optimizer._args_=[1]", {"agent.optimizer._args_=[1]": "no such key"}),
    ("network.torso._target_=parts.Headless", {"network.torso._target_=parts.Headless": "arguments layer"}),
    ("runner._target_=no.such runner.batch_size=x", {"runner._target_=no.such": "No module named 'no'"}),
    # ranges of observations
    ("network.obs_low=[0,0,0,0]", {"network.obs_high=null": "given together"}),
    ("network.obs_low=[0] network.obs_high=[1]", {"network.obs_high=[1.0]": "4 numbers"}),
    (
        "network.obs_low=[0,0,0,0] network.obs_high=[1,1,0,1]",
        {"network.obs_high=[1.0, 1.0, 0.0, 1.0]": "above that of network.obs_low"},
    ),
    (
        "env=frozenlake network.obs_low=[0] network.obs_high=[15]",
        {"network.obs_high=[15.0]": "numeric observations"},
    ),
    ("network.obs_scale=0", {"network.obs_scale=0": "greater than 0"}),
    ("env=frozenlake network.obs_scale=2", {"network.obs_scale=2.0": "auto for discrete observations"}),
    (
        "network.obs_scale=2 network.obs_low=[0,0,0,0] network.obs_high=[1,1,1,1]",
        {"network.obs_scale=2.0": "auto, because network.obs_low and network.obs_high"},
    ),
    # torsos that do not fit the observations
    (
        "network/torso=nature",
        {"network.torso._target_=dqn.network.Conv": "images, and the observations have the shape (4,)"},
    ),
    (
        "env=catch network/torso=nature",
        {"network.torso.kernel_sizes[1]=4": "at most 1: convolution 2 reads 1 x 1 pixels"},
    ),
    (
        "env=catch network/torso=minatar network.torso.strides=[]",
        {"network.torso.strides=[]": "one number for each of"},
    ),
    # interpolations
    ("agent.lr=${nosuch} seed=???", {"agent.lr=${nosuch}": "'nosuch' not found", "seed=???": "be given"}),
]
if not torch.cuda.is_available():
    VALUES.append(("device=cuda", {"device=cuda": "auto or cpu"}))
if not importlib.util.find_spec("Box2D"):
    VALUES.append(("env.id=LunarLander-v3", {"env.id=LunarLander-v3": install("box2d")}))

COMPOSITION = [
    ("nosuch=1", {"nosuch=1": "num_seeds"}),
    ("agent.lrr=1", {"agent.lrr=1": "did you mean agent.lr=1? agent has optimizer, lr_schedule, backup, lr"}),
    ("agent.lr.x=1", {"agent.lr.x=1": "agent has"}),
    ("agent.backup.clip=-1", {"agent.backup.clip=-1": "agent/backup=munchausen agent.backup.clip=-1"}),
    (
        "memory.sampler.alpha=1",
        {"memory.sampler.alpha=1": "memory.sampler.alpha=1 (or with memory=prioritized_rainbow)"},
    ),
    ("hydra.nosuch=1", {"hydra.nosuch=1": "no such key"}),
    ("agent=nosuch", {"agent=nosuch": "c51, double, dqn"}),
    ("network/torso=nosuch", {"network/torso=nosuch": "mlp"}),
    ("+experiment=nosuch", {"experiment=nosuch": "cleanrl/c51, cleanrl/dqn"}),
    ("hydra/launcher=nosuch", {"hydra/launcher=nosuch": "basic"}),
    ("schedule=null", {"schedule=null": "constant, constant_hundredth"}),
    ("agent.lr=[1", {"agent.lr=[1": "KEY=VALUE"}),
    ("agent.lr", {"agent.lr": "KEY=VALUE"}),
    ("~agent.nosuch", {"~agent.nosuch": "agent has"}),
    ("~agent.lr=7", {"~agent.lr=7": "0.0005 and not 7"}),
    ("+agent.lr=1", {"+agent.lr=1": "type agent.lr=1"}),
    ("seed=1,2", {"seed=1,2": "-m"}),
    ("agent.optimizer.betas.x=1", {"agent.optimizer.betas.x=1": "invalid literal"}),
    (
        "+agent=double hydra.searchpath=5",
        {"+agent=double": "should be agent=double", "hydra.searchpath=5": "a list"},
    ),
    ("+experiment=zoo/nosuch", {"experiment=zoo/nosuch": "zoo/acrobot"}),
    ("+experiment=revisiting/iqn", {"+experiment=revisiting/iqn": "comes after it in a list"}),
    (
        "+experiment=[revisiting/iqn,revisiting/acrobot]",
        {"+experiment=[revisiting/iqn,revisiting/acrobot]": "comes after it in a list"},
    ),
]


@pytest.mark.parametrize(("overrides", "keys"), VALUES, ids=[overrides for overrides, _ in VALUES])
def test_values(overrides, keys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        preflight(config_of(overrides.split()), RunFolder(tmp_path / "run"), overrides.split())
    named(str(error.value), keys)
    assert str(error.value).startswith(f"{str(error.value).count(chr(10))} mistake")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(("overrides", "keys"), COMPOSITION, ids=[overrides for overrides, _ in COMPOSITION])
def test_composition(overrides, keys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("train", *overrides.split())
    assert result.code == 1
    named(result.text, keys)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("overrides", "multirun"),
    [
        ("agent=double seed=3 +experiment=cleanrl/dqn +env.kwargs.render_mode=rgb_array", False),
        ("agent=double,dqn seed=range(0,3) agent.lr=choice(1,2) name=a hydra/launcher=basic", True),
        ("hydra.mode=MULTIRUN seed=1,2", False),
        ("network.torso.hidden_sizes=[8,8] network/torso=mlp ~agent.lr ++agent.x=1", False),
    ],
)
def test_overrides_that_compose(overrides, multirun):
    compose(overrides.split(), multirun=multirun)


def test_whole_numbers_may_be_written_as_floats(tmp_path):
    config = config_of(["runner.total_episodes=1e2", "network.torso.hidden_sizes=[8.0]", "agent.lr=1"])
    preflight(config, RunFolder(tmp_path), [])
    assert config["runner"]["total_episodes"] == 100
    assert repr(config["network"]["torso"]["hidden_sizes"]) == "[8]"


QUICK = [
    (
        "--help",
        0,
        {"agent=dqn ": "double, drqn, dueling", "eval": f"$(python {SCRIPTS / 'train.py'} -sc install=bash)"},
    ),
    ("--cfg job", 0, {"lr:": "0.0005"}),
    ("-sc query=bash", 0, {"agent.": ""}),
    ("nosuch=1", 1, {"nosuch=1": "num_seeds"}),
    ("agent=nosuch", 1, {"agent=nosuch": "c51, double, dqn"}),
    ("agent.lr=[1", 1, {"agent.lr=[1": "KEY=VALUE"}),
    ("agent=dqn,foo -m nosuch=1,2 seed=range(0,1000)", 1, {"agent=foo": "double", "nosuch=1": "num_seeds"}),
]


@pytest.fixture(scope="module")
def most_seconds():
    """CPU seconds of 0.7 imports of torch: a little less than 1 if an import takes 1.36."""
    before = child_seconds()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return 0.7 * (child_seconds() - before)


@pytest.fixture(scope="module")
def quick_answers(tmp_path_factory):
    """Return the answers of one process by command; an additional first command pays for the imports."""
    folder = tmp_path_factory.mktemp("quick")
    completion = {"COMP_LINE": "train.py agent", "COMP_POINT": "14"}
    commands = [["--help"], *(overrides.split() for overrides, *_ in QUICK)]
    _, *found = answers("train", commands, cwd=folder, env=completion)
    assert tree(folder) == {}
    return dict(zip((overrides for overrides, *_ in QUICK), found, strict=True))


@pytest.mark.process
@pytest.mark.parametrize(("overrides", "code", "keys"), QUICK, ids=[overrides for overrides, *_ in QUICK])
def test_quick_answers_need_no_torch(overrides, code, keys, most_seconds, quick_answers):
    answer = quick_answers[overrides]
    assert not answer.has_torch
    assert answer.seconds < most_seconds
    assert answer.code == code
    for key, right in keys.items():
        assert key in answer.text
        assert right in answer.text


@pytest.mark.process
def test_a_process_answers_in_less_time_than_torch_takes(most_seconds, tmp_path):
    seconds = []
    while not seconds or (
        min(seconds) >= most_seconds and len(seconds) < 3
    ):  # a busy machine counts more than there was
        before = child_seconds()
        assert run("train", "nosuch=1", cwd=tmp_path).code == 1
        seconds.append(child_seconds() - before)
    assert min(seconds) < most_seconds


TOGETHER = [
    (
        "agent.lr=-1 agent.gamma=1.5 schedule.start=2 num_seeds=0 network.torso.hidden_sizes=[0]"
        " memory.capacity=10 env=document env.id=NoSuch-v0",
        [
            "agent.lr=-1",
            "agent.gamma=1.5",
            "schedule.start=2",
            "num_seeds=0",
            "network.torso.hidden_sizes=[0]",
            "memory.capacity=10",
            "runner.learning_starts=2000",
            "env.id=NoSuch-v0",
        ],
    ),
    (
        "agent.lr=fast agent.optimizer.betas=[2,3] num_seeds=true runner.total_episodes=150"
        " runner.learning_starts=60000 env=document env.id=Pendulum-v1 +agent.foo=1 ~seed",
        [
            "agent.lr=fast",
            "agent.optimizer.betas=",
            "num_seeds=true",
            "runner.total_episodes=150",
            "runner.learning_starts=60000",
            "env.id=Pendulum-v1",
            "agent.foo=1",
            "seed is missing",
        ],
    ),
    (
        "nosuch=1 agent.lrr=2 agent=nosuch schedule.start=[1 +agent.lr=3 ~agent.foo seed=1,2 --agent.gamma=1",
        [
            "--agent.gamma=1",
            "nosuch=1",
            "agent.lrr=2",
            "agent=nosuch",
            "schedule.start=[1",
            "+agent.lr=3",
            "~agent.foo",
            "seed=1,2",
        ],
    ),
]


@pytest.mark.parametrize(("overrides", "keys"), TOGETHER, ids=["values", "values and keys", "composition"])
def test_all_mistakes_in_one_message(overrides, keys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("train", *overrides.split())
    assert result.code == 1
    assert result.text.startswith(f"{len(keys)} mistakes in ")
    assert len(result.text.splitlines()) == 1 + len(keys)
    named(result.text, dict.fromkeys(keys, ": "))
    assert tree(tmp_path) == {}


def test_folder_that_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    before = tree(tmp_path)
    for overrides in (
        ["hydra.run.dir=file/run"],
        ["-m", "hydra.sweep.dir=file/runs"],
        ["hydra.run.dir=${nosuch}"],
        ["hydra.run.dir=~/run"],
    ):
        result = call("train", *overrides)
        assert result.code == 1
        named(result.text, {overrides[-1].partition("=")[0]: ""})
        assert tree(tmp_path) == before


def test_folder_of_another_run(finished_run, tmp_path):
    before = tree(tmp_path)
    result = call("train", *FINISHED, f"hydra.run.dir={finished_run}", "agent.lr=0.1", "agent=double")
    assert result.code == 1
    named(
        result.text, {"agent.lr: 0.0005 there, 0.1 here": "", "agent.backup._target_: dqn.agent.Greedy": ""}
    )
    assert tree(tmp_path) == before


def again(folder, *overrides):
    """Repeat the run of `finished_run`, with resume.py and with its command."""
    yield call("resume", folder, *overrides)
    yield call("train", *FINISHED, f"hydra.run.dir={folder}", *overrides)  # last, since it configures logging


def test_smaller_total(finished_run, tmp_path):
    before = tree(tmp_path)
    for result in again(finished_run, "runner.total_episodes=2"):
        assert result.code == 1
        named(result.text, {"runner.total_episodes: 4 there, 2 here": ""})
        assert tree(tmp_path) == before


def test_folder_in_use(finished_run, tmp_path):
    with RunFolder(finished_run).locked():
        before = tree(tmp_path)
        for result in again(finished_run):
            assert result.code == 1
            assert f"{finished_run}: in use by another process" in result.text
        assert tree(tmp_path) == before


def test_finished_run_prints_its_result(finished_run, tmp_path, caplog):
    caplog.set_level("INFO")
    status = json.loads((finished_run / "status.json").read_text())
    before = tree(tmp_path)
    for result in again(finished_run):
        assert result.code == 0
        assert f"return {status['result']:.2f} (one seed)" in result.text + caplog.text
        assert tree(tmp_path) == before


def test_runs_started_in_one_second_have_separate_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "2026-01-01_00-00-00")
    assert [call("train", *TINY).code for _ in range(2)] == [0, 0]
    assert len(list((tmp_path / "outputs" / "dqn").glob("CartPole-v1_dqn_2026-01-01_00-00-00_*"))) == 2


def test_a_run_that_learned_nothing_says_so(tmp_path):
    warning, more = "warning: no update was made", f"{tmp_path / 'run'} runner.total_episodes=4"
    result = call("train", *TINY, f"hydra.run.dir={tmp_path / 'run'}")
    assert warning in result.text
    assert more in result.text
    learning = ["runner.learning_starts=1", "runner.batch_size=1"]
    assert warning not in call("train", *TINY, *learning, f"hydra.run.dir={tmp_path / 'learns'}").text


def test_no_more_training_is_recommended_at_learning_rate_0(tmp_path):
    overrides = [*TINY, f"hydra.run.dir={tmp_path / 'run'}", "agent/lr_schedule=to_zero"]
    text = call("train", *overrides, "agent.lr_schedule.duration=2").text
    assert f"{tmp_path / 'run'} episodes=100" in text
    assert "runner.total_episodes=4" not in text


@pytest.mark.parametrize("name", ["checkpoint", "seed=0", "run/.hydra"])
def test_a_folder_with_files_of_another_run_is_refused(name, tmp_path):
    (tmp_path / name).mkdir(parents=True)
    before = tree(tmp_path)
    result = call("train", *TINY, f"hydra.run.dir={tmp_path}")
    assert result.code == 1
    assert (
        f"{tmp_path}: contains {name} but no .hydra/config.yaml; choose another hydra.run.dir" in result.text
    )
    assert {path: text for path, text in tree(tmp_path).items() if path != ".lock"} == before


def test_a_refused_resume_loses_no_result(tmp_path):
    run = tmp_path / "run"
    assert call("train", *TINY, f"hydra.run.dir={run}").code == 0
    next(run.glob("checkpoint/policy-*.pt")).write_bytes(b"cut")
    before = tree(run)
    result = call("resume", run, "runner.total_episodes=4")
    assert result.code == 1
    assert "damaged, its size or content differs from what was written" in result.text
    assert tree(run) == before


def test_printed_commands_trust_the_packages_that_the_run_needs(tmp_path):
    run = tmp_path / "run"
    text = call("train", *TINY, f"hydra.run.dir={run}", "agent.backup._target_=parts.OwnBackup").text
    assert f"{run} episodes=100 --trust parts" in text
    assert f"{run} runner.total_episodes=4 --trust parts" in text
    assert call("resume", run, "runner.total_episodes=4", "--trust", "parts").code == 0
    assert "--trust" not in call("train", *TINY, f"hydra.run.dir={tmp_path / 'plain'}").text


def test_infinite_loss_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["env.module=parts", "env.id=Explosive-v0", "hydra.run.dir=run", "runner=steps"]
    overrides += ["runner.total_steps=100", "runner.iteration_length=50", "runner.learning_starts=60"]
    overrides += ["runner.batch_size=4", "runner.train_period=1", "runner.eval_episodes=0"]
    overrides += ["env.reward_scale=1.0", "network.head.huber_delta=null"]
    result = call("train", *overrides)
    assert result.code == 1
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert status["state"] == "failed"
    assert "in update 1;" in status["error"]
    assert status["error"] in result.text.splitlines()
    assert status["progress"]["tick"] == 50
    assert json.loads((tmp_path / "run/checkpoint/manifest.json").read_text())["iteration"] == 1
    assert call("evaluate", tmp_path / "run", "episodes=1", "--trust", "parts").code == 0


RUN_MISTAKES = [
    ("evaluate", "episodes=0", {"episodes=0": "greater than 0"}),
    (
        "evaluate",
        "episodes=x epsilon=2 foo=1",
        {"episodes=x": "a whole number", "epsilon=2": "less than or equal to 1", "foo=1": "episodes,"},
    ),
    (
        "evaluate",
        "episodes=true stream=-1",
        {"episodes=true": "a whole number, not true or false", "stream=-1": "greater than or equal to 0"},
    ),
    (
        "evaluate",
        "policy=worst video=a.gif",
        {"policy=worst": "'last' or 'best'", "video=a.gif": "should be an .mp4 file"},
    ),
    ("evaluate", "video=no/such.mp4", {"video=no/such.mp4": "should be in a folder that exists"}),
    ("evaluate", "episodes=1 video=/proc/a.mp4", {"video=/proc/a.mp4": "cannot be written"}),
    (
        "evaluate",
        "episodes=[1 episodes ~episodes episodes=1,2",
        dict.fromkeys(["episodes=[1", "~episodes"], ""),
    ),
    ("evaluate", "--nope", {"": "--nope"}),
    (
        "resume",
        "runner.total_steps=100 agent.lrr=1",
        dict.fromkeys(["runner.total_steps=100", "agent.lrr=1"], ""),
    ),
    (
        "resume",
        "agent.lr=0.1 seed=5",
        {
            "agent.lr: 0.0005 there, 0.1 here": "",
            "seed: 0 there, 5 here": "",
            "a new run from scratch: ": f"{' '.join(map(in_shell, FINISHED))} agent.lr=0.1 seed=5",
        },
    ),
    ("resume", "agent.max_grad_norm=1", {"agent.max_grad_norm: ": "1.0 here"}),
    (
        "resume",
        "total_episodes=8",
        {"total_episodes=8": "the run has no such key; type runner.total_episodes=8"},
    ),
    ("resume", "agent=double", {"agent=double": "a run keeps its options of groups"}),
    ("resume", "runner.total_episodes=x", {"runner.total_episodes=x": "a whole number"}),
    ("resume", "runner.total_episodes=5", {"runner.total_episodes=5": "a multiple"}),
    ("resume", "agent.lr.x=1 +agent.foo=1", {"+agent.foo=1": "KEY=VALUE"}),
    (
        "resume",
        "runner.total_episodes=${oc.env:HOME}",
        {"runner.total_episodes=${oc.env:HOME}": "whole number"},
    ),
]


@pytest.mark.parametrize(
    ("script", "overrides", "keys"), RUN_MISTAKES, ids=[overrides for _, overrides, _ in RUN_MISTAKES]
)
def test_mistakes_about_a_run(script, overrides, keys, finished_run, capsys):
    before = tree(finished_run)
    result = call(script, finished_run, *overrides.split())
    assert result.code != 0
    named(result.text, keys)
    assert tree(finished_run) == before


def test_a_finished_run_may_get_another_evaluation(finished_run):
    assert call("resume", finished_run, "runner.eval_episodes=1").code == 0
    folder = RunFolder(finished_run)
    assert [len(returns) for returns in folder.stored_status()["evaluation"].values()] == [1]
    assert folder.read_overrides() == [*FINISHED, "runner.eval_episodes=1"]
    text = call("resume", finished_run, "agent.lr=0.1").text
    assert f"{' '.join(map(in_shell, FINISHED))} runner.eval_episodes=1 agent.lr=0.1" in text
    for episodes in (2, 1):
        assert call("resume", finished_run, f"runner.eval_episodes={episodes}").code == 0
    assert folder.read_overrides() == [*FINISHED, "runner.eval_episodes=2", "runner.eval_episodes=1"]


@pytest.mark.parametrize(
    "line", ["agent.backup._target_=os.system", "hydra.searchpath=[/tmp]", "seed=1", 55555]
)
def test_recorded_overrides_of_another_configuration_are_not_repeated(line, finished_run):
    path = finished_run / ".hydra" / "overrides.yaml"
    path.write_text(json.dumps([line]))
    text = call("resume", finished_run, "agent.lr=0.1").text
    assert f"for a new run from scratch repeat the overrides in {path}" in text
    assert str(line) not in text


@pytest.mark.parametrize("script", ["evaluate", "resume"])
def test_no_such_run(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(script, "nowhere")
    assert result.code == 1
    assert f"{tmp_path / 'nowhere'}: not a run folder" in result.text
    assert tree(tmp_path) == {}
