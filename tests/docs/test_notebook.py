"""The notebook runs from top to bottom in a real kernel, which prints what a notebook should."""

import json

import nbformat
import pytest
from helpers import ROOT
from nbclient import NotebookClient

FILES = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
FIRST_RUN = ROOT / "docs" / "notebooks" / "first_run.ipynb"
WORDS = ["runner=episodes", "runner.total_episodes=6", "runner.iteration_length=2", "runner.eval_episodes=0"]
INTERRUPT = f"""
import os, signal

def interrupt(run):
    if run.iteration == 2:
        os.kill(os.getpid(), signal.SIGINT)

dqn.train([*{WORDS}, "hydra.run.dir=stopped"], env=Corridor, on_iteration=interrupt)
"""
CONFIGURED = """
import logging

logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO, stream=sys.stdout, force=True)
dqn.resume("stopped")
"""


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_no_outputs_are_kept(file):
    for cell in json.loads(file.read_text())["cells"]:
        assert len(cell["source"]) <= 25
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def printed(cell) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def shown(cell, kind: str = "text/plain") -> str:
    return "".join(output.data.get(kind, "") for output in cell.outputs if "data" in output)


@pytest.mark.process
@pytest.mark.timeout(600)
def test_in_a_kernel(tmp_path):
    notebook = nbformat.read(FIRST_RUN, as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell(text) for text in (INTERRUPT, CONFIGURED)]
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=None, allow_errors=True, resources=resources).execute()
    install, train, plot, play, evaluate, _, corridor, resume, interrupt, configured = (
        cell for cell in notebook.cells if cell.cell_type == "code"
    )
    errors = [output for cell in notebook.cells for output in cell.get("outputs", []) if "ename" in output]
    assert [error.ename for error in errors] == ["KeyboardInterrupt"], errors
    assert len(errors[0].traceback) < 7, errors[0].traceback

    assert install.outputs == []
    first, *lines = printed(train).splitlines()
    assert first.startswith(f"run folder: {tmp_path}/outputs/")
    assert [line.split("|")[0].strip() for line in lines][::3] == ["step  500 of 2000", "step 2000 of 2000"]
    assert len(lines) == 4
    assert shown(train).startswith("<Run on CartPole-v1, seed 0: evaluation return ")
    assert shown(plot, "image/png")
    assert shown(play).startswith("(<GreedyPolicy for CartPole-v1: seed 0, after iteration 4>, ")
    assert "20 episodes of CartPole-v1 after iteration 4, epsilon 0.0:" in printed(evaluate)
    assert "resumed after step 1000" in printed(resume)
    assert "<Evaluation on python/Corridor, 5 episodes per seed: seed 0: " in shown(corridor)

    assert f"interrupted; continue with: dqn.resume('{tmp_path}/stopped', env=Corridor)" in printed(interrupt)
    assert json.loads((tmp_path / "stopped" / "status.json").read_text())["state"] == "finished"
    assert printed(configured).count("resumed after episode 2") == 1
    assert "dqn.runner.runner: resumed after episode 2" in printed(configured)
