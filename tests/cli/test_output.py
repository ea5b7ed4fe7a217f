"""A standard output that no one reads or that is full ends no command."""

import errno
import io
import json
import os
import sys
from pathlib import Path

import pytest
from commands import TINY, start

from dqn.cli.output import OptionalOutput, optional, plain_errors
from dqn.config.launch import problem_of
from dqn.errors import UserError
from dqn.storage.folder import RunFolder


def test_output_without_a_reader(capfd):
    reader, writer = os.pipe()
    with io.BufferedWriter(OptionalOutput(writer, "w")) as output:
        for text in (b"first", b"second", b"third"):
            output.write(text)
            output.flush()
            if text == b"first":
                assert os.read(reader, 100) == b"first"
                os.close(reader)
    assert capfd.readouterr().err == "the output ends here (Broken pipe); the command continues\n"


def test_only_the_output_of_the_process_is_replaced():
    with optional(None) as nowhere:
        assert nowhere.write("nothing") == 7
    output = io.StringIO()
    assert optional(output) is output


def test_characters_that_a_terminal_lacks_are_escaped(monkeypatch, tmp_path):
    with (tmp_path / "text").open("w", encoding="ascii") as output:
        monkeypatch.setattr(sys, "__stdout__", output)
        with optional(output) as ours:
            ours.write("ü…")
    assert (tmp_path / "text").read_text() == r"\xfc\u2026"


@pytest.mark.process
def test_a_run_whose_output_is_closed(tmp_path):
    process = start("train", *TINY, "runner.iteration_length=1", "hydra.run.dir=run", cwd=tmp_path)
    assert process.stdout.readline().startswith("warning: schedule.duration=")  # longer than this run
    assert process.stdout.readline().startswith("run folder: ")
    process.stdout.close()  # standard error goes to the same pipe
    assert process.wait(240) == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


MACHINE = [
    (
        MemoryError("Unable to allocate 8 TiB"),
        "out of memory (MemoryError: Unable to allocate 8 TiB); a smaller",
    ),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory ("),
    (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), "out of memory ("),
    (RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"), "out of memory ("),
]


@pytest.mark.parametrize(("error", "sentence"), MACHINE, ids=[str(error)[:30] for error, _ in MACHINE])
def test_errors_of_the_machine_are_sentences(error, sentence, tmp_path):
    assert sentence in str(problem_of(error, RunFolder(tmp_path)))


def test_a_full_disk_keeps_the_checkpoint_that_there_is(tmp_path):
    error, kept = OSError(errno.ENOSPC, "No space left on device"), "; the last checkpoint is kept"
    assert str(problem_of(error, RunFolder(tmp_path))) == f"{tmp_path}: {error}"
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "manifest.json").write_text('{"format": 4}')
    assert str(problem_of(error, RunFolder(tmp_path))) == f"{tmp_path}: {error}{kept}"


def test_errors_of_the_program_are_not():
    assert problem_of(RuntimeError("shapes"), RunFolder(Path())) is None
    assert problem_of(mistake := UserError("x"), RunFolder(Path())) is mistake
    with pytest.raises(SystemExit, match=r"out of memory \(8 TiB\)"), plain_errors():
        raise MemoryError("8 TiB")
