"""The reader of metrics.jsonl, and the scores of runs."""

import json
from pathlib import Path

import pytest

from dqn.storage import metrics
from dqn.storage.folder import RunFolder
from dqn.storage.metrics import (
    evaluation_scores,
    final_scores,
    read_blocks,
    read_lines,
    training_scores,
)

DAMAGED = [
    (b'{"step": 1}\n{"step": 2}\n', [1, 2], 0, False),
    (b'{"step": 1}\n{"step": 2}', [1, 2], 0, False),
    (b'{"step": 1}\n{"ste', [1], 0, True),
    (b'{"step": 1}\n{"ste\n[3]\n\x00\xff\n{"step": 4}\n', [1, 4], 3, False),
    (b'7\n"a"\nnull', [], 2, True),
    (b"[" * 100_000 + b'\n{"step": 5}\n', [5], 1, False),
    (b"", [], 0, False),
]


def write_metrics(run: Path, content: bytes) -> None:
    (run / "seed=0").mkdir()
    (run / "seed=0" / "metrics.jsonl").write_bytes(content)


@pytest.mark.parametrize(("content", "steps", "damaged", "torn"), DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_lines_are_left_out_and_counted(tmp_path, content, steps, damaged, torn):
    write_metrics(tmp_path, content)
    blocks = list(read_blocks(tmp_path, 0))
    assert [line["step"] for block in blocks for line in block.lines] == steps
    assert sum(block.damaged for block in blocks) == damaged
    assert any(block.torn for block in blocks) == torn
    assert [line["step"] for line in read_lines(tmp_path, 0)] == steps


def test_a_file_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 100)
    write_metrics(tmp_path, b"".join(b'{"step": %d}\n' % i for i in range(50)))
    blocks = list(read_blocks(tmp_path, 0))
    assert len(blocks) > 5
    assert [line["step"] for block in blocks for line in block.lines] == list(range(50))


def test_no_file_has_no_lines(tmp_path):
    assert list(read_lines(tmp_path, 0)) == []
    with pytest.raises(FileNotFoundError):
        list(read_blocks(tmp_path, 0))


def write_seed(run: Path, seed: int, returns: list[object]) -> None:
    (run / f"seed={seed}").mkdir(parents=True)
    lines = [{"step": i, "train/return": x} for i, x in enumerate(returns)]
    lines.insert(1, {"step": 0, "eval/return": 5.0})
    (run / f"seed={seed}" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_scores_of_a_run(tmp_path):
    """The final evaluation, or else the mean of each seed's last hundred episodes."""
    write_seed(tmp_path, 3, [1000.0, *map(float, range(100))])
    write_seed(tmp_path, 4, [1.0, "no number", 2.0])
    write_seed(tmp_path, 5, [])
    assert training_scores(tmp_path, range(3, 7)) == {3: 49.5, 4: 1.5}
    folder = RunFolder(tmp_path)
    assert final_scores(folder, range(3, 7)) == [49.5, 1.5]
    folder.update_status(state="finished", evaluation={"3": [1.0, 2.0], "4": [3.0, 3.0]})
    assert final_scores(folder, range(3, 7)) == [1.5, 3.0]


def test_scores_of_returns_that_are_not_finite():
    assert evaluation_scores({"evaluation": {"0": [1.0, 2.0], "1": [1.0, None]}}) == {0: 1.5}
    assert evaluation_scores({"evaluation": None}) == evaluation_scores({}) == {}
