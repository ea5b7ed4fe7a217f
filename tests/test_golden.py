"""Runs against recorded ones: a change that is to change no number changes none, to the bit."""

import json

import golden
import pytest

RECORDED = json.loads(golden.FILE.read_text()).get(golden.machine())


@pytest.mark.skipif(RECORDED is None, reason=f"nothing is recorded for {golden.machine()}")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.process] * (name == "compiled")) for name in golden.RUNS],
)
def test_a_run_is_the_recorded_one(name, tmp_path):
    assert golden.train(name, tmp_path / "run") == RECORDED[name]
