"""CONFIGURATION.md: what conf/ says, and nothing older."""

import sys

import pytest
from commands import load_script

from dqn.config.paths import CONF

reference = load_script("reference")

FILES = {
    "config": """
        defaults:
          - schedule: linear
          - agent: dqn # last
          - _self_
          - override hydra/job_logging: stdout
        seed: 0 # the first seed
        hydra:
          run:
            dir: "out # ${seed}"
        """,
    "schedule/linear": """
        _target_: dqn.schedule.Linear
        start: 1.0 # epsilon | at tick 0
        # where the line
        # ends
        end: 5e-2
        """,
    "schedule/later": """
        # Begins later.
        # And ends later.
        _target_: dqn.schedule.Linear
        start: 0.5 # epsilon | at tick 0
        # where the line
        # ends
        end: 5e-2
        """,
    "agent/dqn": """
        defaults:
          - optimizer: adam
          - _self_
        _target_: dqn.agent.Agent
        _partial_: true
        lr: 1e-3 # learning rate
        sizes: # of layers
          - 8
          - "#4"
        backup:
          _target_: dqn.agent.Greedy
        """,
    "agent/other": """
        # @package _global_
        # Another agent.
        defaults:
          - /agent/dqn@agent
          - override /schedule: later
        agent:
          lr: 2e-3
          tau: 0.5 # of its own
          backup:
            _target_: dqn.agent.Double
        schedule:
          end: 0.0
        """,
    "agent/optimizer/adam": """
        _target_: torch.optim.Adam
        betas: [0.9, 0.99] # decay * of averages
        """,
    "experiment/small": """
        # @package _global_
        # A recipe.
        defaults:
          - override /agent: other
        agent:
          lr: 3e-3
        """,
}


def write(folder, files):
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix(8 * " ") for line in text.splitlines()[1:]))
    return reference.Reference(folder)


def rows(text):
    return [line for line in text.splitlines() if line.startswith("| `")]


def test_the_file_is_not_stale():
    assert reference.FILE.read_text() == reference.Reference(CONF).text(), (
        "python scripts/reference.py writes it"
    )


def test_every_key_has_a_comment():
    assert reference.Reference(CONF).lacking() == []


def test_it_is_said_which_key_lacks_a_comment(tmp_path):
    assert write(tmp_path, FILES).lacking() == []
    bare = FILES | {name: FILES[name].replace(" # learning rate", "") for name in ("agent/dqn",)}
    bare["config"] = FILES["config"].replace(" # the first seed", "")
    bare["schedule/later"] = FILES["schedule/later"].replace(" # epsilon | at tick 0", "")
    right = ["config: seed", "agent/dqn: agent.lr", "agent/other: agent.lr", "schedule/later: schedule.start"]
    assert write(tmp_path, bare).lacking() == right


def test_a_recipe_names_the_one_that_it_begins_with(tmp_path):
    again = "\n# @package _global_\ndefaults:\n  - small\n  - _self_\nseed: 3"
    text = write(tmp_path, FILES | {"experiment/again": again}).text()
    assert "### `again`\n\n\n\n```\n+experiment=small seed=3\n```" in text


def test_text(tmp_path):
    text = write(tmp_path, FILES).text()
    assert [line for line in text.splitlines() if line.startswith("#")][1:] == [
        *("## The run", "## `schedule`", "## `agent`", "### `agent/optimizer`"),
        *("## `experiment`", "### `small`"),
    ]
    greedy, linear = (reference.summary(name) for name in ("dqn.agent.Greedy", "dqn.schedule.Linear"))
    assert rows(text) == [
        "| `seed` | `0` | the first seed |",
        f"| `linear` (default) | {linear} |",
        "| `later` | Begins later. And ends later. As `linear`, but `schedule.start=0.5`. |",
        r"| `schedule.start` | `1.0` | epsilon \| at tick 0 |",
        "| `schedule.end` | `5e-2` | where the line ends |",
        f"| `dqn` (default) | {reference.summary('dqn.agent.Agent')} With `agent/optimizer=adam`. |",
        "| `other` | Another agent. As `dqn`, but `agent.lr=2e-3`, `agent.backup._target_=dqn.agent.Double`."
        " Sets `schedule.end=0.0`. With `schedule=later`. |",
        "| `agent.lr` | `1e-3` | learning rate | `dqn` |",
        "| `agent.sizes` | `[8, '#4']` | of layers | `dqn` |",
        f"| `agent.backup` | `dqn.agent.Greedy` | {greedy} | `dqn` |",
        "| `agent.tau` | `0.5` | of its own | `other` |",
        "| `adam` (default) | `torch.optim.Adam`. |",
        r"| `agent.optimizer.betas` | `[0.9, 0.99]` | decay \* of averages |",
    ]
    assert "A recipe.\n\n```\nagent=other agent.lr=3e-3\n```\n" in text


@pytest.mark.parametrize("stale", [False, True])
def test_check(tmp_path, monkeypatch, stale):
    file = tmp_path / "CONFIGURATION.md"
    monkeypatch.setattr(reference, "FILE", file)
    monkeypatch.setattr(sys, "argv", ["reference.py"])
    reference.main()
    assert file.read_text() == reference.Reference(CONF).text()
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    if stale:
        file.write_text(file.read_text() + "\n")
        with pytest.raises(SystemExit, match="stale"):
            reference.main()
    else:
        reference.main()
