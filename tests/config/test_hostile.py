"""Untrusted run folders cannot run code, import a package or reveal a variable of this process."""

import datetime
import hashlib
import json
import os
import pickle
import sys

import pytest
import torch
import yaml
from commands import call, tree
from helpers import FINISHED

LONGER = "runner.total_episodes=6"
SECRET = "the-secret-of-this-process"
CANARY = "CANARY"
"""Placeholder for the file that a payload would create."""
PICKLE = "PICKLE"
"""Placeholder for a file whose unpickling creates the canary."""

TOUCH = {"_target_": "os.system", "command": f"touch {CANARY}"}
LOAD = {"f": PICKLE, "weights_only": False}
ENVIRONMENTS = {
    "_target_": "dqn.env.Environments",
    "id": "canary_module:Env-v0",
    "module": "canary_module",
    "kwargs": {},
    "max_episode_steps": None,
    "num_envs": 1,
    "vectorization": "sync",
    "reward_scale": 1.0,
    "reward_clip": None,
    "time_limit_is_terminal": True,
    "seeds": [0],
    "role": "x",
    "training": True,
    "wrappers": [],
    "training_wrappers": [],
    "scale_bytes": True,
}

CONFIGS = {
    # name: (key, its value, start of the message)
    "a function of Python's": (
        "agent.backup",
        {"_target_": "builtins.open", "file": CANARY, "mode": "w"},
        None,
    ),
    "a shell command": ("schedule", TOUCH, None),
    "a pickle by torch": ("agent.optimizer", {"_target_": "torch.load", **LOAD}, None),
    "a pickle by numpy": (
        "memory.sampler",
        {"_target_": "numpy.load", "file": PICKLE, "allow_pickle": True},
        None,
    ),
    "an environment of a module": (
        "env",
        {"_target_": "gymnasium.make", "id": "canary_module:Env-v0", "_partial_": True},
        None,
    ),
    "in a list": ("memory.extra", [[{"deep": TOUCH}]], "memory.extra[0][0].deep._target_=os.system"),
    "in keywords of the environment": (
        "env.kwargs",
        {"a": {"b": TOUCH}},
        "env.kwargs.a.b._target_=os.system",
    ),
    "at the top": ("_target_", "os.system", None),
    "a new group": ("evil", TOUCH, "evil._target_=os.system"),
    "Hydra's own node": ("hydra", {"callbacks": {"x": TOUCH}}, "hydra.callbacks.x._target_"),
    "logging in Hydra's node": (
        "hydra",
        {"job_logging": {"version": 1, "handlers": {"h": {"()": "canary_module.f"}}}},
        None,
    ),
    "an alias through our modules": (
        "network.torso",
        {"_target_": "dqn.storage.checkpoint.torch.load", **LOAD},
        None,
    ),
    "another alias": (
        "network.head",
        {"_target_": "dqn.storage.folder.subprocess.run", "args": ["touch", CANARY]},
        None,
    ),
    "our function that is not shipped": ("agent.backup", {"_target_": "dqn.config.launch.launch"}, None),
    "a prefix": ("agent.backup._target_", "dqn.agent.backup.Greed", None),
    "a longer name": ("agent.backup._target_", "dqn.agent.Greedy.__call__.__globals__.get", None),
    "another case": ("agent.backup._target_", "DQN.backup.Greedy", None),
    "a list of targets": ("agent.backup._target_", ["os.system"], "agent.backup._target_"),
    "a mapping as target": ("agent.backup._target_", {"_target_": "os.system"}, "agent.backup._target_"),
    "positional arguments": ("agent.backup._args_", [f"touch {CANARY}"], "agent.backup._args_="),
    "recursion": ("agent._recursive_", True, "agent._recursive_=True"),
    "conversion": ("agent._convert_", "all", "agent._convert_=all"),
    "environments in another place": ("agent.backup", ENVIRONMENTS, None),
    "environments in an environment": (
        "env.kwargs.x",
        ENVIRONMENTS | {"id": "CartPole-v1"},
        "env.kwargs.x._target_=dqn.env.Environments",
    ),
    "a package before the id": ("env.id", "canary_module:Env-v0", "env.id=canary_module:Env-v0"),
    "a standard package before the id": ("env.id", "os:Env", "env.id=os:Env"),
    "two packages before the id": ("env.id", "canary_module:x:Env-v0", "env.id=canary_module:x:Env-v0"),
    "an id that is none": ("env.id", ["canary_module:Env-v0"], "env.id="),
    "a module": ("env.module", "canary_module", "env.module=canary_module"),
    "a module in a list": ("env.module", ["canary_module"], "env.module="),
    "our module that is not shipped": ("env.module", "dqn.sweep.pool", "env.module=dqn.sweep.pool"),
    "keywords that name code": (
        "env.kwargs",
        {"env_id": ["canary_module:Env-v0"]},
        "env.kwargs.env_id[0]=canary_module:Env-v0",
    ),
    "a wrapper that is a command": ("env.wrappers", [TOUCH], "env.wrappers[0]._target_=os.system"),
    "a wrapper of training": (
        "env.training_wrappers",
        [TOUCH],
        "env.training_wrappers[0]._target_=os.system",
    ),
    "a function for a wrapper": (
        "env.wrappers",
        [{"_target_": "gymnasium.wrappers.TransformReward", "func": {**TOUCH, "_partial_": True}}],
        "env.wrappers[0].func._target_=os.system",
    ),
    "the name of a function for a wrapper": (
        "env.wrappers",
        [{"_target_": "gymnasium.wrappers.TransformReward", "func": "lambda reward: canary_module.f()"}],
        "env.wrappers[0].func=lambda reward",
    ),
    "a function by entry point": (
        "env.training_wrappers",
        [{"_target_": "gymnasium.wrappers.TransformReward", "func": "canary_module:f"}],
        "env.training_wrappers[0].func=canary_module:f",
    ),
    "a wrapper that writes files": (
        "env.wrappers",
        [{"_target_": "gymnasium.wrappers.RecordVideo", "video_folder": CANARY}],
        "env.wrappers[0]._target_=gymnasium.wrappers.RecordVideo",
    ),
    "a wrapper that imports packages": (
        "env.wrappers",
        [{"_target_": "gymnasium.wrappers.ArrayConversion", "env_xp": "canary_module", "target_xp": "numpy"}],
        "env.wrappers[0]._target_=gymnasium.wrappers.ArrayConversion",
    ),
    "an alias through Gymnasium": (
        "env.wrappers",
        [{"_target_": "gymnasium.wrappers.common.gym.make", "id": "canary_module:Env-v0"}],
        "env.wrappers[0]._target_=gymnasium.wrappers.common.gym.make",
    ),
    "below a wrapper": (
        "env.wrappers",
        [{"_target_": "gymnasium.wrappers.TimeLimit.__init__.__globals__.get"}],
        "env.wrappers[0]._target_=gymnasium.wrappers.TimeLimit.__init__",
    ),
    "a wrapper in another place": ("schedule", {"_target_": "gymnasium.wrappers.TimeLimit"}, None),
    "a wrapper for a wrapper": (
        "env.wrappers",
        [
            {
                "_target_": "gymnasium.wrappers.TransformReward",
                "func": {"_target_": "gymnasium.wrappers.Autoreset"},
            }
        ],
        "env.wrappers[0].func._target_=gymnasium.wrappers.Autoreset",
    ),
    "environments as a wrapper": (
        "env.wrappers",
        [ENVIRONMENTS],
        "env.wrappers[0]._target_=dqn.env.Environments",
    ),
    "wrappers that are no list": (
        "env.wrappers",
        {"0": {"_target_": "gymnasium.wrappers.NumpyToTorch"}},
        "env.wrappers.0._target_=gymnasium.wrappers.NumpyToTorch",
    ),
    "no wrappers": ("env.wrappers", None, "env.wrappers=null"),
    "a variable": ("name", "${oc.env:DQN_SECRET}", "name=${oc.env:DQN_SECRET}"),
    "a variable in a text": ("env.kwargs", {"a": ["x${oc.env:DQN_SECRET}"]}, "env.kwargs.a[0]=x${oc.env:"),
    "a variable as key": ("agent.${oc.env:DQN_SECRET}", 1, "agent.${oc.env:DQN_SECRET}=1"),
    "another key's value": ("name", "${env.id}", "name=${env.id}"),
    "a resolver": ("agent.lr", "${run_id:}", "agent.lr=${run_id:}"),
    "a missing value": ("env.kwargs", {"x": "???"}, "env.kwargs.x=???"),
    "a date": ("name", datetime.date(2020, 1, 1), "name=2020-01-01"),
    "bytes as key": ("env.kwargs", {b"a": 1}, "env.kwargs"),
    "no environment": ("env", None, None),
    "an environment that is a list": ("env", ["dqn.env.Environments"], None),
    "no seed": ("seed", None, None),
}

TEXTS = {
    "a YAML tag": f"name: !!python/object/apply:os.system ['touch {CANARY}']\n",
    "a YAML module": "name: !!python/module:canary_module\n",
    "a YAML name": "name: !!python/name:canary_module.f\n",
    "very deep YAML": "[" * 200_000 + "]" * 200_000,
    "YAML aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)
    ),
    "deep YAML": "name: " + "[" * 1500 + "]" * 1500,
    "a list": "[1, 2]\n",
    "a huge number": f"seed: {'9' * 10000}\n",
    "no text": "\0\1\2",
    "nothing": "",
}


class Payload:
    """Creates the canary when it is unpickled."""

    def __init__(self, canary) -> None:
        self.command = f"touch {canary}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Create the files that hostile folders look for; check at the end that none of them was used."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    canary, module = elsewhere / "canary", elsewhere / "canary_module.py"
    module.write_text(f"import pathlib; pathlib.Path({str(canary)!r}).touch()\ndef f(*args, **kwargs): ...\n")
    (elsewhere / "pickle").write_bytes(pickle.dumps(Payload(canary)))
    monkeypatch.syspath_prepend(str(elsewhere))
    monkeypatch.setenv("DQN_SECRET", SECRET)
    before = tree(elsewhere)
    yield elsewhere
    assert sys.modules.pop("canary_module", None) is None
    after = {path: text for path, text in tree(elsewhere).items() if "__pycache__" not in path}
    assert after == before


def planted(value, elsewhere):
    """Return a payload with the names of the real files."""
    text = yaml.safe_dump(value).replace(CANARY, f"{elsewhere}/canary").replace(PICKLE, f"{elsewhere}/pickle")
    return yaml.safe_load(text)


def tamper(folder, where, value):
    file = folder / ".hydra" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    *path, name = where.split(".") if "$" not in where else where.split(".", 1)
    node = config
    for part in path:
        node = node[part]
    node[name] = value
    file.write_text(yaml.safe_dump(config))


def refused(folder, *overrides):
    """Assert that both scripts refuse the folder and change nothing; return their messages."""
    before = tree(folder)
    texts = []
    for script, option in (("evaluate", "episodes=1"), ("resume", LONGER)):
        result = call(script, folder, option, *overrides)
        assert result.code == 1, result.text
        assert SECRET not in result.text
        assert tree(folder) == before
        texts.append(result.text)
    return texts


@pytest.mark.parametrize("case", CONFIGS)
def test_configuration(case, finished_run, trap):
    where, value, key = CONFIGS[case]
    tamper(finished_run, where, planted(value, trap))
    if key is None and isinstance(value, dict) and "_target_" in value:
        key = f"{where}._target_={value['_target_']} is refused"
    for text in refused(finished_run):
        assert (key or where) in text or "not the configuration of a run" in text


@pytest.mark.parametrize("case", TEXTS)
def test_text_that_is_no_configuration(case, finished_run, trap):
    file = finished_run / ".hydra" / "config.yaml"
    good = "" if case in ("a list", "no text", "nothing") else file.read_text()
    file.write_text(TEXTS[case].replace(CANARY, f"{trap}/canary") + good)
    for text in refused(finished_run):
        assert text.startswith(str(file))
        assert len(text) < 1000


def replace_part(folder, part, content):
    """Replace the content of a file of the checkpoint, and its size and digest in the manifest."""
    manifest_file = folder / "checkpoint" / "manifest.json"
    manifest = json.loads(manifest_file.read_text())
    entry = manifest["files"][part][-1]
    (folder / "checkpoint" / entry["name"]).write_bytes(content)
    entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest_file.write_text(json.dumps(manifest))


def saved_by_torch(content, tmp_path):
    torch.save(content, tmp_path / "saved")
    return (tmp_path / "saved").read_bytes()


@pytest.mark.parametrize("kind", ["pickle", "torch", "inside"])
@pytest.mark.parametrize("part", ["policy", "learner", "memory"])
def test_pickles(part, kind, finished_run, trap, tmp_path):
    payload = Payload(trap / "canary")
    content = {
        "pickle": pickle.dumps(payload),
        "torch": saved_by_torch(payload, tmp_path),
        "inside": saved_by_torch({"agent": [torch.zeros(2), {"x": payload}]}, tmp_path),
    }[kind]
    replace_part(finished_run, part, content)
    before = tree(finished_run)
    if part == "policy":
        result = call("evaluate", finished_run, "episodes=1")
        assert result.code == 1
        assert f"{part}-2.pt" in result.text
        assert tree(finished_run) == before
    result = call("resume", finished_run, LONGER)
    assert result.code == 1
    assert f"{part}-2.pt" in result.text
    kept = {path: text for path, text in before.items() if path.startswith(("checkpoint", "seed"))}
    assert kept.items() <= tree(finished_run).items()


@pytest.mark.parametrize(
    "name", ["../../elsewhere/pickle", "/etc/passwd", "policy-2.pt/../x", "memory-2.pt", 5]
)
def test_manifest_that_leads_elsewhere(name, finished_run, trap):
    file = finished_run / "checkpoint" / "manifest.json"
    manifest = json.loads(file.read_text())
    content = (trap / "pickle").read_bytes()
    entry = {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    file.write_text(json.dumps(manifest | {"files": manifest["files"] | {"policy": [entry]}}))
    for script, option in (("evaluate", "episodes=1"), ("resume", LONGER)):
        result = call(script, finished_run, option)
        assert result.code == 1
        assert f"{file}: " in result.text


@pytest.mark.parametrize("link", ["status.json.tmp", "checkpoint/old", "seed=0/metrics.jsonl", ".lock"])
def test_links_that_writing_would_follow(link, finished_run, trap):
    path = finished_run / link
    path.unlink(missing_ok=True)
    path.symlink_to(trap if link == "checkpoint/old" else trap / "canary_module.py")
    for text in refused(finished_run):
        assert text.startswith(f"{path}: a symbolic link")


def test_logging_configuration_is_not_read(finished_run, trap):
    handlers = {"h": {"()": "canary_module.f"}, "file": {"class": "canary_module.f", "filename": "x"}}
    logging = {"version": 1, "handlers": handlers, "root": {"handlers": ["h", "file"]}}
    hydra = {"hydra": {"job_logging": logging, "hydra_logging": logging, "callbacks": {"x": TOUCH}}}
    (finished_run / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(planted(hydra, trap)))
    assert call("evaluate", finished_run, "episodes=1").code == 0
    assert call("resume", finished_run, LONGER).code == 0


@pytest.mark.parametrize(
    "status", [{"state": "finished", "result": "x"}, {"versions": [1]}, [], {"state": {}}]
)
def test_status_that_is_none(status, finished_run):
    (finished_run / "status.json").write_text(json.dumps(status))
    assert call("resume", finished_run).code == 0
    status = json.loads((finished_run / "status.json").read_text())
    assert status["state"] == "finished"


def test_own_package(finished_run, trap):
    tamper(finished_run, "agent.backup._target_", "parts.OwnBackup")
    for text in refused(finished_run):
        assert "agent.backup._target_=parts.OwnBackup is refused" in text
        assert "--trust parts" in text
    for text in refused(finished_run, "--trust", "part", "--trust", "parts.OwnBackup.x"):
        assert "agent.backup._target_=parts.OwnBackup is refused" in text
    assert call("evaluate", finished_run, "--trust", "parts", "episodes=1").code == 0
    assert call("resume", finished_run, LONGER, "--trust", "other", "--trust", "parts").code == 0


def test_a_module_that_an_option_of_env_names(finished_run):
    tamper(finished_run, "env.module", "dqn.env.catch")
    assert call("evaluate", finished_run, "episodes=1").code == 0


@pytest.mark.parametrize(
    ("name", "trust"),
    [
        ("parts.torch.load", "parts"),
        ("parts.OwnBackup.__call__.__globals__", "parts"),
        ("parts.nothing", "parts"),
        ("dqn.storage.checkpoint.torch.load", "dqn"),
        ("dqn.storage.folder.subprocess.run", "dqn.storage.folder"),
    ],
)
def test_trust_ends_at_what_the_package_defines(name, trust, finished_run, trap):
    tamper(finished_run, "agent.backup", planted({"_target_": name, **LOAD}, trap))
    for text in refused(finished_run, "--trust", trust):
        assert name in text


def test_train_refuses_too(finished_run, trap):
    replace_part(finished_run, "policy", pickle.dumps(Payload(trap / "canary")))
    before = tree(finished_run)
    assert call("evaluate", finished_run, "episodes=1").code == 1
    tamper(finished_run, "agent.backup", planted(TOUCH, trap))
    tampered = tree(finished_run)
    assert tampered != before
    overrides = [f"hydra.run.dir={finished_run}", *FINISHED]
    for script, options in (("resume", [str(finished_run)]), ("train", overrides)):
        result = call(script, *options)
        assert result.code == 1
        assert "agent.backup" in result.text
        assert tree(finished_run) == tampered
