"""Every option composes, is valid, builds, and is read; only conf/ has default values."""

import ast
import inspect
import re
import textwrap
from pathlib import Path

import pytest
import yaml
from helpers import config_of, make_runner, options
from hydra.utils import get_object

import dqn
from dqn.config.compose import compose
from dqn.config.groups import MAKERS, OBJECTS
from dqn.config.paths import CONF
from dqn.config.preflight import resolved
from dqn.config.validate import check
from dqn.storage.flatten import leaves

GROUPS = [key.replace(".", "/") for key in (*MAKERS, *OBJECTS) if (CONF / key.replace(".", "/")).is_dir()]
ENVS = ("cartpole", "acrobot", "mountaincar", "lunarlander")
OTHERS = [env for env in options("env") if env != "document"]


def recipes(group: str) -> list[str]:
    """Return the recipes of a group, which may lie in folders."""
    files = (CONF / group).glob("**/*.yaml")
    return sorted(str(file.relative_to(CONF / group).with_suffix("")) for file in files)


def recipe_lists() -> list[str]:
    """Return every recipe; one that changes another recipe follows it in a list."""
    lists = []
    for option in recipes("experiment"):
        folder, _, name = option.rpartition("/")
        if folder == "revisiting" and name in options("experiment/revisiting/agents"):
            lists += [f"[revisiting/{env},{option}]" for env in ENVS] + [f"[minatar_revisiting,{option}]"]
        elif folder == "cleanrl" and name in ENVS:
            lists += [f"[cleanrl/{agent},{option}]" for agent in ("dqn", "c51")]
        elif folder == "memory":
            lists += [
                f"[{task},{option}]" for task in ("cue_chain", "t_maze", "cartpole_positions", "popgym")
            ]
        elif option == "presets/all":
            lists += [f"[{one},{option}]" for one in ("presets/cartpole", "presets/acrobot")]
        elif folder.count("/") == 0:  # further down are parts, which no list of recipes names
            lists.append(option)
    return lists


RECIPES = recipe_lists()
GIVEN_BY_USERS = {
    "base": "env.id=Acrobot-v1",
    "atari": "env.game=Pong",
    "minatar": "env.game=breakout",
    "minigrid": "env.id=MiniGrid-Empty-5x5-v0",
}
"""What options of `env` leave to the user."""


def examples(overrides: list[str]) -> list[str]:
    """Return the overrides with an example of what their option of `env` or recipe leaves to the user."""
    first = overrides[0].replace("[", "")
    added = [
        given for env, given in GIVEN_BY_USERS.items() if re.match(rf"env={env}$|\+experiment={env}", first)
    ]
    return [*overrides, *added]


def of_recipe(recipe: str) -> list[str]:
    """Return the overrides of a recipe, with an example of what it leaves to the user."""
    return examples([f"+experiment={recipe}"])


EVERY = [examples([f"{group}={option}"]) for group in GROUPS for option in options(group)]
EVERY[EVERY.index(["network/torso=module"])].append("network.torso.module={_target_: torch.nn.Flatten}")
IMAGES = ["env.id=dqn/Chain-v0", "env.module=dqn.conformance.chain", "+env.kwargs={shape: [48, 48, 1]}"]
for torso in ("der", "impala", "minatar", "minigrid", "nature"):
    EVERY[EVERY.index([f"network/torso={torso}"])] += IMAGES
EVERY[EVERY.index(["memory/reader=sequences"])].append("network/core=gru")
EVERY += map(of_recipe, RECIPES)
EVERY += [
    ["env.id=Acrobot-v1"],
    *(examples([f"env={env}", "runner=episodes"]) for env in OTHERS),
]
EVERY += [["runner=steps", "agent=double", "schedule=exponential"], ["runner=steps", "schedule=constant"]]


def ours(config: dict) -> set[str]:
    """Return the constructors of this package that a configuration names."""
    targets = {value for key, value in leaves(config) if key.endswith("_target_")}
    return {target for target in targets if target.startswith("dqn.")}


FILES = [yaml.safe_load(path.read_text()) for path in CONF.rglob("*.yaml")]
TARGETS = sorted(set[str]().union(*map(ours, FILES)))


def test_recipes():
    assert len(RECIPES) == 72
    assert {"[revisiting/lunarlander,revisiting/iqn]", "[cleanrl/c51,cleanrl/acrobot]"} <= set(RECIPES)


@pytest.mark.parametrize("overrides", EVERY, ids=" ".join)
def test_every_option_composes_and_builds(tmp_path, overrides):
    assert ours(config_of(overrides)) <= set(TARGETS)
    runner = make_runner(tmp_path, overrides)
    runner.env.close()


def test_the_helper_of_other_tests_composes_as_hydra_does():
    overrides = ["num_seeds=2", "agent=rainbow", "memory/reader=one_step", "~agent.lr", "+env.kwargs={a: 1}"]
    assert config_of(overrides) == resolved(compose(overrides).config)


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
    assert config["agent"]["max_grad_norm"] is None
    assert config["agent"]["optimizer"]["_target_"] == "dqn.agent.Adam"
    assert config["agent"]["backup"]["_target_"] == "dqn.agent.Greedy"
    assert config["runner"]["_target_"] == "dqn.runner.EpisodesClock"


@pytest.mark.parametrize("env", OTHERS)
def test_another_environment_drops_the_values_of_the_document(env):
    """And every part keeps its own values: Rainbow explores by noise alone."""
    config = config_of(examples([f"env={env}", "agent=rainbow"]))
    report = check(config)
    assert (report.problems, report.warnings) == ([], [])
    assert config["agent"]["gamma"] < 1
    assert config["env"]["reward_scale"] == (0.01 if env == "cartpole" else 1.0)
    assert not config["env"]["time_limit_is_terminal"]
    assert config["runner"]["_target_"] == "dqn.runner.StepsClock"
    assert config["schedule"] == {"_target_": "dqn.schedule.Constant", "value": 0.0}
    assert config["memory"]["sampler"]["alpha"] == 0.5
    assert config["memory"]["reader"]["n_step"] == 3


@pytest.mark.parametrize("env", options("env"))
def test_an_environment_sets_only_what_every_option_has(env):
    """Its values come last, so they reach any agent and memory; those of the runner leave with the runner."""
    content = yaml.safe_load((CONF / "env" / f"{env}.yaml").read_text())
    chosen = [entry for entry in content.pop("defaults", []) if isinstance(entry, dict)]
    safe = {"agent", "runner", "network/torso", "agent/optimizer", "agent/lr_schedule", "memory/reader"}
    assert {key for entry in chosen for key in entry} <= {f"override /{group}" for group in safe}
    if isinstance(content.get("env"), dict):  # an option of the package _global_
        keys = {key for key, _ in leaves(content) if not key.startswith("env.")}
        assert keys <= {"memory.capacity", "memory.reader.n_step"} | {
            f"agent.{key}" for key in ("lr", "gamma", "max_grad_norm")
        }


@pytest.mark.parametrize("option", recipes("runner/steps"))
def test_a_clock_for_an_environment_sets_only_its_own_keys(option):
    """It may choose a schedule, which noisy layers replace, but set no key of one."""
    content = yaml.safe_load((CONF / "runner" / "steps" / f"{option}.yaml").read_text())
    defaults = content.pop("defaults")
    assert defaults[:2] == ["/runner/steps", "_self_"]
    assert all(entry.keys() == {"override /schedule"} for entry in defaults[2:])
    assert content.keys() <= {"runner"}


@pytest.mark.slow
@pytest.mark.parametrize("agent", recipes("agent"))
def test_every_agent_in_every_environment(agent):
    if agent.startswith(("backup/", "optimizer/", "lr_schedule/")):
        return
    for env in OTHERS:
        assert check(config_of(examples([f"env={env}", f"agent={agent}"]))).problems == []


@pytest.mark.parametrize("target", TARGETS)
def test_no_default_value_outside_conf(target):
    """No constructor that conf/ names has defaults: each value is written once."""
    parameters = inspect.signature(get_object(target)).parameters.values()
    assert all(p.default is p.empty for p in parameters)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_set_only_keys_that_exist(recipe):
    """A value for a key that no group has would be an addition that nothing reads."""
    assert check(config_of(of_recipe(recipe))).problems == []


TUNED = {"agent.lr", "agent.gamma", "agent.max_grad_norm", "memory.capacity", "network.torso.hidden_sizes"}
TUNED |= {
    "env.id",
    "env.reward_scale",
    "env.time_limit_is_terminal",
    "runner.total_steps",
    "runner.batch_size",
}
TUNED |= {f"runner.{key}" for key in ("iteration_length", "learning_starts", "train_period", "target_period")}
TUNED |= {"runner.target_tau", "runner.updates_per_train"}
"""Keys of the all-round recipe that may get other values."""


CHOSEN = {"override /env": "env.id", "override /network/torso": "network.torso.hidden_sizes"}
"""Keys whose values an option has that a recipe chooses; a recipe on `env=base` fails without an id."""


def keys_of(recipe: str) -> set[str]:
    """Return the keys that a recipe sets, with those of the recipes that it starts from."""
    content = yaml.safe_load((CONF / f"{recipe}.yaml").read_text())
    defaults = content.pop("defaults", [])
    included = [entry for entry in defaults if isinstance(entry, str) and entry != "_self_"]
    keys = {re.sub(r"\[\d+\]$", "", key) for key, _ in leaves(content)}
    keys |= {CHOSEN[key] for entry in defaults if isinstance(entry, dict) for key in entry.keys() & CHOSEN}
    return keys.union(*(keys_of(entry.lstrip("/")) for entry in included))


FIXED = [one for one in RECIPES if not one.startswith("[") and not one.endswith(("/all", "cartpole"))]
FIXED += ["zoo/cartpole", "presets/cartpole", "revisiting/cartpole"]
"""Recipes that are alone; `cartpole` and the search from it have the values of env=cartpole."""


@pytest.mark.parametrize("recipe", FIXED)
def test_recipes_do_not_depend_on_the_all_round_values(recipe):
    """Results are recorded for them."""
    assert TUNED - keys_of(f"experiment/{recipe}") == set()


@pytest.mark.parametrize(
    "recipe", ["atari_dopamine", "atari_dopamine/iqn", "atari_nature", "minatar", "catch"]
)
def test_an_agent_has_its_layers_in_a_recipe(recipe):
    config = config_of([f"+experiment={recipe}", "agent=rainbow"])
    assert config["network"]["layer"]["_target_"] == "dqn.network.Noisy"


def test_names_of_recipes_and_that_epsilon_falls_within_them():
    configs = {recipe: config_of(of_recipe(recipe)) for recipe in RECIPES}
    names = {recipe: config["name"] for recipe, config in configs.items()}
    for recipe, config in configs.items():
        total = config["runner"].get("total_steps") or config["runner"]["total_episodes"]
        assert config["schedule"].get("duration", 0) + config["schedule"].get("delay", 0) <= total, recipe
    assert names["[revisiting/acrobot,revisiting/iqn]"] == "revisiting_acrobot_iqn"
    assert names["cleanrl/c51"] == "cleanrl_cartpole_c51"
    assert names["[cleanrl/dqn,cleanrl/acrobot]"] == "cleanrl_acrobot_dqn"
    runs = {recipe: name for recipe, name in names.items() if not recipe.endswith("/all]")}
    assert len(set(runs.values())) == len(runs), "the runs of each recipe have a separate folder"
    ablation = config_of(["+experiment=revisiting/acrobot", "agent=ablation/less_double"])
    assert ablation["name"] == "revisiting_acrobot_ablation_less_double"


@pytest.mark.parametrize(
    ("overrides", "warning"),
    [
        (["env.time_limit_is_terminal=false"], "agent.gamma=1"),
        (["runner=steps", "runner.iteration_length=100"], "time limit"),
        (["runner=steps", "env.num_envs=40"], "time limit"),
        (
            [
                "runner=steps",
                "runner.total_steps=50000",
                "runner.learning_starts=50001",
                "memory.capacity=60000",
            ],
            "too small for any update",
        ),
        (
            [
                "runner=steps",
                "runner.total_steps=50000",
                "runner.train_period=40000",
                "runner.learning_starts=40001",
            ],
            "any update",
        ),
        (["runner.train_period=3001"], "too small for any update"),
        (
            ["agent/lr_schedule=to_zero", "agent.lr_schedule.duration=2999"],
            "learning rate is 0 after tick 2999",
        ),
        (
            ["agent/lr_schedule=linear", "agent.lr_schedule.duration=3001"],
            "does not reach agent.lr_schedule.end",
        ),
        (["env=base", "env.id=CliffWalking-v1", "runner=episodes"], "CliffWalking-v1 has no time limit"),
        (
            ["runner=steps", "runner.total_steps=40000"],
            "schedule.duration=50000 is longer than runner.total_steps=40000: epsilon does not reach"
            " schedule.end=0.05",
        ),
        (
            ["runner=steps", "runner.total_steps=50000", "schedule=linear_delayed", "schedule.delay=3000"],
            "schedule.duration=50000 after schedule.delay=3000 is longer than runner.total_steps=50000",
        ),
    ],
)
def test_warnings(overrides, warning):
    report = check(config_of(overrides))
    assert report.problems == []
    assert any(warning in one for one in report.warnings)
    assert check(config_of([])).warnings == []


def unread(cls: type, trees: list[ast.Module]) -> set[str]:
    """Return the arguments of a class that are unused, or stored under names that nothing reads."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    stored: dict[str, str] = {}
    used: set[str] = set()
    for function in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(cls)))):
        if getattr(function, "name", "") != "__init__":
            continue
        stores: set[ast.AST] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                for name, value in pairs(node.targets[0], node.value):
                    stored[value.id] = name.attr
                    stores.add(value)
        used |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and node not in stores}
    arguments = set(inspect.signature(cls).parameters)
    return {name for name in arguments - used if stored.get(name, name) not in read}


def pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.Attribute, ast.Name]]:
    """Return the pairs of attribute and name in `self.a = a` and `self.a, self.b = a, b`."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return [pair for both in zip(target.elts, value.elts, strict=True) for pair in pairs(*both)]
    return [(target, value)] if isinstance(target, ast.Attribute) and isinstance(value, ast.Name) else []


SOURCES = [ast.parse(path.read_text()) for path in Path(dqn.__file__).parent.rglob("*.py")]


@pytest.mark.parametrize("target", TARGETS)
def test_every_key_is_read(target):
    assert unread(get_object(target), SOURCES) == set()


class Idle:
    """Reads one argument at once and one later, and never the other two."""

    def __init__(self, *, used, kept, idle, idle_too):
        self.twice = 2 * used
        self.mine, self.his = kept, idle
        self.idle_too = idle_too

    def read(self):
        return self.mine


def test_a_key_that_nothing_reads_is_found():
    assert unread(Idle, [ast.parse(inspect.getsource(Idle))]) == {"idle", "idle_too"}


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            ["agent=rainbow", "memory=uniform", "network/layer=linear"],
            "Double CategoricalHead Uniform Linear 3",
        ),
        (
            ["agent=dqn", "network/head=quantile", "memory=prioritized"],
            "Greedy QuantileHead Prioritized Linear 1",
        ),
        (["agent=rainbow", "runner=steps"], "Double CategoricalHead Prioritized Noisy 3"),
        (["agent=ablation/less_double"], "Greedy CategoricalHead Prioritized Noisy 3"),
        (["agent=ablation/less_noisy", "runner=steps"], "Double CategoricalHead Prioritized Linear 3"),
        (["agent=ablation/less_n_step"], "Double CategoricalHead Prioritized Noisy 1"),
        (["agent=ablation/less_prioritized"], "Double CategoricalHead Uniform Noisy 3"),
        (["agent=ablation/less_categorical"], "Double ExpectedHead Prioritized Noisy 3"),
        (["agent=m_iqn"], "Munchausen ImplicitQuantileHead Uniform Linear 1"),
        (["agent=noisy", "agent/backup=double"], "Double ExpectedHead Uniform Noisy 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_parts_are_added_and_taken_away(overrides, parts):
    """No part leaves a value behind: the check would report a key that the other part lacks."""
    config = config_of(overrides)
    assert check(config).problems == []
    targets = (
        config["agent"]["backup"],
        config["network"]["head"],
        config["memory"]["sampler"],
        config["network"]["layer"],
    )
    names = [node["_target_"].rpartition(".")[2] for node in targets]
    assert " ".join([*names, str(config["memory"]["reader"]["n_step"])]) == parts
    explores = config["schedule"] != {"_target_": "dqn.schedule.Constant", "value": 0.0}
    assert explores == (names[-1] == "Linear"), "epsilon is 0 with noise, and with noise alone"


def test_dueling_is_taken_away_alone():
    whole, less = (config_of([f"agent={name}"])["network"] for name in ("rainbow", "ablation/less_dueling"))
    assert (whole.pop("streams")["_target_"], less.pop("streams")["_target_"]) == (
        "dqn.network.DuelingStreams",
        "dqn.network.SingleStream",
    )
    assert whole == less
