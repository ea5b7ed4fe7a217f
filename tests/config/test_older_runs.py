"""Run folders of older versions of this package are refused in one sentence and left unchanged."""

import json

import pytest
import yaml
from commands import TINY, call, tree
from helpers import config_of

import dqn

VERSIONS = {"python": "3.11.7", "dqn": "0.1.0", "torch": "2.12.0"}


@pytest.fixture
def older_run(tmp_path):
    """Return a run folder as version 0.1.0 wrote it."""
    config = config_of(TINY)
    config["agent"]["backup"]["_target_"] = "dqn.backup.Greedy"
    config["agent"]["optimizer"]["_target_"] = "dqn.optimizer.Adam"
    config["runner"]["_target_"] = "dqn.clock.EpisodesClock"
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "status.json").write_text(json.dumps({"state": "interrupted", "versions": VERSIONS}))
    (folder / "checkpoint").mkdir()
    manifest = {"format": 3, "iteration": 1, "files": {}}
    (folder / "checkpoint" / "manifest.json").write_text(json.dumps(manifest))
    return folder


def load(folder):
    with pytest.raises(dqn.UserError) as error:
        dqn.load(folder)
    return str(error.value)


def test_an_older_run_is_refused_in_a_sentence_that_names_its_version(older_run):
    before = tree(older_run)
    texts = [
        call("resume", older_run).text,
        call("evaluate", older_run, "--trust", "dqn").text,
        call("export", older_run, older_run.parent / "policy.pt2").text,
        call("train", *TINY, f"hydra.run.dir={older_run}").text,
        load(older_run),
    ]
    for text in texts:
        assert text.strip() == (
            f"{older_run}: made by dqn 0.1.0; this is dqn {dqn.__version__}, which cannot read it:"
            " install that version to continue it"
        )
    assert {path: one for path, one in tree(older_run).items() if path != ".lock"} == before


NO_VERSION = [{}, {"versions": {"dqn": "x"}}, {"versions": 5}]


@pytest.mark.parametrize("status", NO_VERSION)
@pytest.mark.parametrize(
    ("number", "made_by"),
    [(3, "dqn 0.1.0 or older"), (1, "dqn 0.1.0 or older"), (9, "a newer version of dqn")],
)
def test_the_format_of_the_checkpoint_tells_the_version_too(status, number, made_by, older_run):
    (older_run / "status.json").write_text(json.dumps(status))
    (older_run / "checkpoint" / "manifest.json").write_text(json.dumps({"format": number}))
    assert f"{older_run}: made by {made_by}; this is dqn {dqn.__version__}" in load(older_run)


@pytest.mark.parametrize("status", NO_VERSION)
def test_an_older_run_without_its_version_is_not_trusted(status, older_run):
    (older_run / "status.json").write_text(json.dumps(status))
    (older_run / "checkpoint" / "manifest.json").unlink()
    text = call("evaluate", older_run, "--trust", "dqn").text
    assert "_target_=dqn." in text
    assert f"no part of dqn {dqn.__version__}; another version of dqn may have made this run" in text
    assert "--trust" not in text


def test_the_recorded_version_is_that_of_the_imported_package(finished_run):
    status = json.loads((finished_run / "status.json").read_text())
    assert status["versions"]["dqn"] == dqn.__version__ == "0.2.0"
