"""Callbacks: what they see, log and keep, and how their mistakes are reported."""

import re
from pathlib import Path
from typing import Any

import pytest
from commands import call, tree
from helpers import TINY_EPISODES, TINY_STEPS, config_of, make_runner
from hooked import Recorder
from records import check_records, read_metrics, same, stored

from dqn.cli.check import examine_parts
from dqn.config.build import build
from dqn.config.launch import launch
from dqn.config.preflight import CheckedRun, preflight
from dqn.config.summary import summary
from dqn.errors import UserError
from dqn.runner import Callback, Runner, Training
from dqn.runner.progress import bar_line
from dqn.storage.folder import RunFolder
from dqn.tracking.logger import check_tag

RECORDER = "callbacks=[{_target_: hooked.Recorder}]"
INFORMED = "env.wrappers=[{_target_: hooked.Informed}]"
TWO = [*TINY_STEPS, "num_seeds=2", "env.num_envs=2", INFORMED]
TWO += ["runner.eval_period=1", "runner.eval_episodes=2"]


def recorder_of(runner: Runner) -> Recorder:
    (recorder,) = runner.callbacks.configured.values()
    assert isinstance(recorder, Recorder)
    return recorder


class Kill(Callback):
    """Stands for a kill in the update of a number."""

    update_period = 1

    def __init__(self, update: int) -> None:
        self.update = update

    def on_update(self, run: Training, update: Any) -> None:
        if run.updates == self.update:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Runner:
    """Return the runner of a finished run with a Recorder."""
    runner = make_runner(tmp_path_factory.mktemp("whole"), [*TWO, RECORDER])
    runner.run()
    return runner


@pytest.mark.parametrize("is_async", [False, True])
def test_hooks_and_numbers(whole, tmp_path, is_async):
    runner, keys = whole, {"steps", "function", "error"}
    if is_async:
        runner, keys = make_runner(tmp_path, [*TWO, RECORDER, "env.vectorization=async"]), {"steps"}
        runner.run()
    recorder, updates = recorder_of(runner), runner.counters.updates
    episodes = int(runner.counters.episodes.sum())
    expected = {"episode": episodes, "update": updates // 3, "evaluation": 2, "iteration": 2}
    assert recorder.calls == expected
    assert (recorder.started_at, recorder.result) == (0, runner.result())
    assert recorder.seen == [keys] * episodes
    check_records(runner.logger.folder)
    metrics = read_metrics(runner.logger.folder)
    for k, lines in enumerate(metrics.values()):
        ends = [line for line in lines if "train/return" in line]
        assert all(line["mine/steps"] == line["train/length"] for line in ends)
        assert len([line for line in lines if "mine/loss" in line]) == updates // 3
        assert lines[-1]["mine/best.return"] == max(runner.counters.evaluation[str(k)])
        assert lines[-1]["mine/weight_norm"] > 1
        assert not any(tag in line for line in lines for tag in ("mine/infinite", "mine/huge"))
    lines = [line for lines in metrics.values() for line in lines]
    numbers = [line["mine/episodes"] for line in lines if "mine/episodes" in line]
    assert sorted(numbers) == list(range(1, episodes + 1)), "each episode's number goes to its own seed"
    assert re.search(
        r"mine/episodes [\d.]+ \| .* mine/weight_norm [\d.]+ \| [\d,]+ steps/s", bar_line(runner)
    )


def test_a_callback_changes_no_other_number(whole, tmp_path):
    def metrics(folder: Path) -> Any:
        """Return the lines that have more than their position, without the callback's numbers."""
        seeds = read_metrics(folder, without=("time/", "mine/"))
        return {seed: [line for line in lines if len(line) > 3] for seed, lines in seeds.items()}

    make_runner(tmp_path, TWO).run()
    assert metrics(tmp_path) == metrics(whole.logger.folder)
    same(stored(tmp_path), stored(whole.logger.folder))
    assert not list((tmp_path / "checkpoint").glob("callbacks*"))


def test_resume_is_exact(whole, tmp_path):
    config, folder = config_of([*TWO, RECORDER]), RunFolder(tmp_path)
    killed = build(config, folder, {"kill": Kill(whole.counters.updates - 2)})
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert killed.iteration == 1
    assert recorder_of(killed).result is None
    resumed = build(config, folder)
    resumed.run()
    assert recorder_of(resumed).started_at == 200
    same(recorder_of(resumed).state_dict(), recorder_of(whole).state_dict())
    assert read_metrics(tmp_path) == read_metrics(whole.logger.folder)


def test_stop(tmp_path):
    """The run is finished as it is, and no command continues it."""
    overrides = [*TINY_EPISODES, "runner.iteration_length=4", "callbacks=[{_target_: hooked.Stops}]"]
    folder = RunFolder(tmp_path)
    checked = CheckedRun(config=config_of(overrides), folder=folder, overrides=overrides, warnings=[])
    result = launch(checked)
    status = folder.stored_status()
    assert (status["state"], status["stopped"]) == ("finished", "that was enough")
    assert status["progress"]["tick"] == 8
    about = "\n".join(summary(folder))
    assert "ended early after episode 8 of 20; a callback stopped it: that was enough" in about
    assert "total_episodes=40" not in about
    done = call("resume", tmp_path, "runner.total_episodes=40", "--trust", "hooked")
    assert done.code == 0, done.text
    assert folder.result() == result
    assert folder.stored_status()["progress"]["tick"] == 8


@pytest.mark.parametrize("hook", ["on_start", "on_checkpoint", "on_end"])
def test_stop_belongs_to_an_iteration(hook, tmp_path):
    """The checkpoint of a run that was stopped says so: elsewhere a resumed run would go on."""
    failing = f"callbacks=[{{_target_: hooked.Failing, hook: {hook}, call: 'run.stop(1)'}}]"
    with pytest.raises(UserError, match=r"stop works in on_episode, on_update, on_evaluation, on_iteration;"):
        make_runner(tmp_path, [*TINY_STEPS, failing]).run()


class Interrupted(Callback):
    """Stands for another interruption, in `on_end`."""

    def on_end(self, run: Training, result: float | None) -> None:
        raise KeyboardInterrupt


def test_an_interruption_of_the_end_closes_the_files(tmp_path):
    runner = build(config_of(TINY_STEPS), RunFolder(tmp_path), {"kill": Kill(1), "end": Interrupted()})
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert all(log._metrics.closed for log in runner.logger._logs)


def test_a_state_may_begin_in_on_start(tmp_path):
    config, folder = config_of([*TINY_STEPS, "callbacks=[{_target_: hooked.Late}]"]), RunFolder(tmp_path)
    build(config, folder).run()
    resumed = build(config, folder)
    resumed.run()
    (late,) = resumed.callbacks.configured.values()
    assert late.state_dict() == {"mode": 1, "name": "a"}
    assert all(type(value) in (int, str) for value in late.state_dict().values())


MISTAKES = [
    # entries of callbacks, {start of a line of the message: what would be right}
    ("{_target_: hooked.Nothing}", "callbacks[0]._target_=hooked.Nothing", "a class or a function"),
    ("{_target_: hooked.Recorder, perid: 3}", "callbacks[0].perid=3", "has update_period, factor"),
    (
        "{_target_: hooked.Recorder, update_period: -1}",
        "callbacks[0].update_period=-1",
        "greater than or equal to 0",
    ),
    ("{_target_: hooked.Recorder, _partial_: true}", "callbacks[0]._partial_=true", "left out"),
    ("{_target_: hooked.Failing, hook: x}", "callbacks[0].call is missing", "call: VALUE"),
    ("{_target_: hooked.Failing, hook: 5x, call: [1]}", "callbacks[0].call=[1]", "text"),
    ("{_target_: hooked.Half}", "callbacks[0].update_period=0.5", "a whole number of at least 0"),
    (
        "{_target_: collections.Counter}",
        "callbacks[0]._target_=collections.Counter",
        "subclass of dqn.runner.Callback",
    ),
    ("{_target_: fractions.Fraction, numerator: x}", "callbacks[0]={", "cannot be created (ValueError: "),
    ("{_target_: hooked.Stops}, 7", "callbacks[1]=7", "{_target_: CLASS, ARGUMENT: VALUE}"),
]


@pytest.mark.parametrize(("entries", "start", "right"), MISTAKES, ids=[entries for entries, *_ in MISTAKES])
def test_mistakes_before_a_folder_is_made(entries, start, right, tmp_path):
    overrides = [f"callbacks=[{entries}]"]
    with pytest.raises(UserError) as error:
        preflight(config_of(overrides), RunFolder(tmp_path / "run"), overrides)
    first, line = (one.strip() for one in str(error.value).splitlines())
    assert first == "1 mistake in the configuration:"
    assert line.startswith(start)
    assert right in line
    assert tree(tmp_path) == {}


FAILURES = [
    ("on_start", "1 / 0", "ZeroDivisionError: division by zero"),
    ("on_start", "run.log('mine/x', 1)", "log works in on_episode, on_update, on_evaluation, on_iteration"),
    ("on_episode", "{}['lives']", "KeyError: 'lives'"),
    (
        "on_episode",
        "run.log('mine/x', np.zeros(2))",
        "log('mine/x', ...): should be a number; it is the shape [2]",
    ),
    ("on_update", "run.log('train/loss', 1)", "choose another group, such as mine/loss"),
    ("on_update", "run.log('mine/x', np.zeros(3))", "one for each seed [2]; it is the shape [3]"),
    ("on_update", "run.log('mine/x', '1')", "a number, or one for each seed [2]; it is str"),
    ("on_iteration", "exit()", "SystemExit"),
    ("on_checkpoint", "run.log('mine/x', 1)", "a resumed run could not repeat this"),
    ("state_dict", "{'a': [set()]}", "state['a'][0] is a set; should be dicts"),
    ("on_end", "1 / 0", "ZeroDivisionError: division by zero"),
]


def failing(hook: str, code: str) -> str:
    return f'callbacks=[{{_target_: hooked.Failing, hook: {hook}, call: "{code}"}}]'


@pytest.mark.parametrize(("hook", "code", "text"), FAILURES, ids=[" ".join(one[:2]) for one in FAILURES])
def test_an_error_names_the_callback(hook, code, text, tmp_path):
    overrides = [*TINY_STEPS, "num_seeds=2", failing(hook, code)]
    with pytest.raises(UserError) as error:
        make_runner(tmp_path, overrides).run()
    where = "" if hook == "state_dict" else r" \(hooked\.py, line \d+\)"
    assert re.match(rf"callbacks\[0\] \(hooked\.Failing\) failed in {hook}{where}: ", str(error.value))
    assert text in str(error.value)


def test_the_last_checkpoint_stays(tmp_path):
    runner = make_runner(tmp_path, [*TINY_EPISODES, failing("on_iteration", "1 / (2 - run.iteration)")])
    with pytest.raises(UserError, match="ZeroDivisionError"):
        runner.run()
    assert runner.checkpoint.iteration() == 1


@pytest.mark.parametrize(
    "tag", ["mine", "step", "/x", "mine/", "mine/ö", "mine/a b", "", 5, "eval/x", "seeds/x"]
)
def test_tags_that_are_refused(tag):
    with pytest.raises(UserError, match="mine/"):
        check_tag(tag)


def test_conformance():
    def found(name: str, *names: str) -> Any:
        return list(examine_parts([*TINY_STEPS, f"callbacks=[{{_target_: {name}}}]"], None, names))

    assert [one.state for one in found("hooked.Recorder", "callbacks", "resume")] == ["ok", "ok"]
    (finding,) = found("hooked.Forgetful", "callbacks")
    assert (finding.state, finding.part) == ("FAILED", "hooked.Forgetful")
    assert "callbacks[0].losses" in finding.detail
