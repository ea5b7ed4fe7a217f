"""The configuration's page: what conf/ and its comments say."""

import sys
import textwrap

import pytest
from helpers import ROOT

from dqn.config.paths import CONF

sys.path.append(str(ROOT / "docs" / "_ext"))
import configuration
from configuration import Reference, summary

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
        # Starts later.
        # And ends later.
        _target_: dqn.schedule.Linear
        start: 0.5
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
    "experiment/more/again": """
        # @package _global_
        # The recipe again.
        defaults:
          - /experiment/small
          - _self_
        seed: 3
        """,
}


def reference_of(folder, files):
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return Reference(folder)


def test_every_key_has_a_comment():
    assert Reference(CONF).without_comment() == []


def test_keys_without_a_comment_are_found(tmp_path):
    assert reference_of(tmp_path, FILES).without_comment() == []
    bare = FILES | {"agent/dqn": FILES["agent/dqn"].replace(" # learning rate", "")}
    bare["config"] = FILES["config"].replace(" # the first seed", "")
    assert reference_of(tmp_path, bare).without_comment() == [
        "config: seed",
        "agent/dqn: agent.lr",
        "agent/other: agent.lr",
    ]


def test_tables(tmp_path):
    text = reference_of(tmp_path, FILES).text()
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        *("## The run", "## `schedule`", "## `agent`", "### `agent/optimizer`"),
        *("## `experiment`", "### `small`", "### `more/again`"),
    ]
    linear, agent, greedy = (
        summary(f"dqn.{name}") for name in ("schedule.Linear", "agent.Agent", "agent.Greedy")
    )
    assert [line for line in text.splitlines() if line.startswith("| `")] == [
        "| `seed` | `0` | the first seed |",
        f"| `linear` (default) | {linear} |",
        "| `later` | Starts later. And ends later. |",
        r"| `schedule.start` | `1.0` | epsilon \| at tick 0 | `linear` |",
        r"| `schedule.start` | `0.5` | epsilon \| at tick 0 | `later` |",
        "| `schedule.end` | `5e-2` | where the line ends | `linear`, `later` |",
        f"| `dqn` (default) | {agent} Starts from `agent/optimizer=adam`. |",
        "| `other` | Another agent. Starts from `dqn`, `schedule=later`. Sets `schedule.end=0.0`. |",
        "| `agent.lr` | `1e-3` | learning rate | `dqn` |",
        "| `agent.lr` | `2e-3` | learning rate | `other` |",
        "| `agent.sizes` | `[8, '#4']` | of layers | `dqn` |",
        f"| `agent.backup` | `dqn.agent.Greedy` | {greedy} | `dqn` |",
        "| `adam` (default) | `torch.optim.Adam`. |",
        r"| `agent.optimizer.betas` | `[0.9, 0.99]` | decay \* of averages |",
    ]


def test_recipes(tmp_path):
    text = reference_of(tmp_path, FILES).text()
    assert "A recipe.\n\n```text\nagent=other agent.lr=3e-3\n```\n" in text
    assert "The recipe again.\n\n```text\n+experiment=small seed=3\n```\n" in text


@pytest.mark.parametrize("page", ["reference/configuration", "reference/api"])
def test_only_its_page_gets_it(page):
    content = ["# Title"]
    configuration.append(None, page, content)
    assert ("## `agent`" in content[0]) == (page == "reference/configuration")
