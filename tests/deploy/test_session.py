"""Python sessions: what they print, and what Ctrl-C leaves."""

import logging
import pydoc
import sys
import traceback

import pytest
from helpers import FINISHED

import dqn
from dqn.config.session import log_shown
from dqn.config.summary import how_to_resume
from dqn.errors import short_traceback
from dqn.runner import Training
from dqn.storage.folder import RunFolder

LINES = ("episode 2 of 4", "warning: seed 0")


class Handler(logging.Handler):
    """Keeps the messages that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


LOGGING = {  # level of the root, whether it has a handler, level of dqn: printed, and what the handler gets
    "not configured": (logging.WARNING, False, logging.NOTSET, LINES, ()),
    "a notebook's default": (logging.WARNING, True, logging.NOTSET, LINES[:1], LINES[1:]),
    "configured": (logging.INFO, True, logging.NOTSET, (), LINES),
    "quiet": (logging.WARNING, True, logging.WARNING, (), LINES[1:]),
}


@pytest.mark.parametrize("case", LOGGING.values(), ids=LOGGING)
def test_log_lines_are_printed_once(monkeypatch, capsys, case):
    root, handled, ours, printed, got = case
    handler, logger = Handler(), logging.getLogger("dqn")
    monkeypatch.setattr(logging.root, "handlers", [handler] * handled)
    monkeypatch.setattr(logging.root, "level", root)
    monkeypatch.setattr(logger, "level", ours)
    logging.root.manager._clear_cache()
    before = (list(logger.handlers), logger.level, logger.propagate)
    with log_shown(), log_shown():  # a callback may train, too
        logging.getLogger("dqn.runner").info(LINES[0])
        logging.getLogger("dqn.runner").warning(LINES[1])
    assert capsys.readouterr().out.splitlines() == list(printed)
    assert handler.messages == list(got)
    assert (list(logger.handlers), logger.level, logger.propagate) == before
    logging.getLogger("dqn.runner").info("after the call")
    assert "after the call" not in capsys.readouterr().out
    logging.root.manager._clear_cache()


def test_ctrl_c_shows_few_frames():
    @short_traceback
    def train(depth: int) -> None:
        if not depth:
            raise KeyboardInterrupt
        train.__wrapped__(depth - 1)

    with pytest.raises(KeyboardInterrupt) as raised:
        train(20)
    assert [frame.name for frame in traceback.extract_tb(raised.tb)][1:] == ["call"]
    assert raised.value.__suppress_context__


HOW = [
    ("CartPole-v1", {}, False, "dqn.resume('/runs/it')"),
    ("python/Walk", {}, True, "dqn.resume('/runs/it', env=Walk, restart=True)"),
    ("mine.envs:Walk", {"_target_": "parts.Own"}, False, "dqn.resume('/runs/it', trust=['mine', 'parts'])"),
]


@pytest.mark.parametrize(("id", "backup", "restart", "text"), HOW, ids=[text for *_, text in HOW])
def test_how_to_resume(tmp_path, id, backup, restart, text):
    config = {"env": {"id": id}, "agent": {"backup": backup}}
    folder = RunFolder(tmp_path)
    assert how_to_resume(config, folder, restart=restart) == text.replace("/runs/it", str(tmp_path))


def test_the_help_shows_the_public_interface():
    text = pydoc.plain(pydoc.render_doc(dqn))
    for name in ("class Evaluation", "class GreedyPolicy", "class Run", "class UserError"):
        assert name in text
    for name in ("train(", "resume(", "evaluate(", "load("):
        assert f"\n    {name}" in text
    for name in ("TYPE_CHECKING", "short_traceback", "importlib"):
        assert name not in text


def test_commands_are_named_in_commands_only(monkeypatch, tmp_path):
    config = {"env": {"id": "CartPole-v1"}}
    monkeypatch.setattr(sys, "argv", ["/somewhere/dqn-train"])
    assert how_to_resume(config, RunFolder(tmp_path), restart=True) == f"dqn-resume {tmp_path} --restart"


def test_a_function_after_each_iteration(tmp_path):
    seen, words = [], [*FINISHED, f"hydra.run.dir={tmp_path}/run"]

    def look(run: Training) -> None:
        seen.append((run.iteration, run.tick))
        run.log("mine/ticks", run.tick)

    run = dqn.train(words, on_iteration=look)
    assert seen == [(1, 2), (2, 4)]
    assert '"mine/ticks": 4' in (run.folder / "seed=0" / "metrics.jsonl").read_text()
    with pytest.raises(
        dqn.UserError, match=r"on_iteration failed in on_iteration \(test_session\.py, line \d+\)"
    ):
        dqn.resume(run, ["runner.total_episodes=6"], on_iteration=lambda run: 1 / 0)
    assert RunFolder(run.folder).status()["state"] == "failed"
