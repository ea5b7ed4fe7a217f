"""Reports on complete, incomplete and hostile sweeps."""

import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from commands import SCRIPTS, call, child_seconds, start
from helpers import FINISHED
from sweeps import COMMAND, base, change, make_run, make_sweep

from dqn.cli.report import report
from dqn.errors import one_line
from dqn.report.analysis import Pair, analyse
from dqn.report.charts import draw_effects
from dqn.report.curve_charts import draw_curve, draw_curves
from dqn.report.curves import Curve, binned, curves_of, latest
from dqn.report.formatting import setting_text
from dqn.report.labels import folder_names, labels
from dqn.report.read import RunRecord, Seed, Series, find_runs, read_record
from dqn.report.settings import sort_runs, title_of
from dqn.report.tables import (
    Table,
    duration,
    effects_table,
    harmless,
    run_links,
    seeds_text,
    settings_table,
    time_text,
)
from dqn.report.write import write_report
from dqn.stats import Band, Estimate, interquartile_mean
from dqn.storage.overrides import typed

PICTURES = ("curves", "scores", "profile", "improvement", "effects")
EVIL = """<script>alert(1)</script>"'&$\\frac{|x`[a](b)\x00\x1b[31m"""


def report_of(*folders: Path, output: Path) -> str:
    """Write a report and return its page."""
    page, _ = write_report(folders, output)
    return page.read_text()


def rows_of(output: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((output / "report.csv").read_text().splitlines()))


class Links(HTMLParser):
    """Collects the tags of a page, the addresses that it would load, and those that a reader can open."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.opens: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data"):
                (self.opens if tag == "a" else self.loads).append(value)
            assert not name.startswith("on")


def test_report_of_a_sweep(tmp_path):
    out = tmp_path / "out"
    page = report_of(make_sweep(tmp_path / "sweep"), output=out)
    for name in PICTURES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    rows = rows_of(out)
    assert [row["agent.lr"] for row in rows] == ["0.001", "0.0003", "0.0001"]
    finals = []
    for run in sorted((tmp_path / "sweep").glob("lr=0.001*")):
        finals += [
            float(np.mean(r)) for r in json.loads((run / "status.json").read_text())["evaluation"].values()
        ]
    assert float(rows[0]["evaluation_iqm"]) == pytest.approx(interquartile_mean(finals))
    assert float(rows[0]["evaluation_low"]) == pytest.approx(min(finals), rel=0.1)
    assert (rows[0]["evaluation_seeds"], rows[0]["cpu_seconds"]) == ("3", "270.0")
    markdown = (out / "report.md").read_text()
    for text in (page, markdown):
        for part in (
            "lr=0.001",
            "evaluation return",
            "training return",
            "4.5 min",
            "P(X",
            "git abc",
            "Effect",
        ):
            assert part in text, part
    assert COMMAND in page
    assert all(f"]({name}.png)" in markdown for name in PICTURES)
    assert "have not finished" not in page


def table_links(*names: str) -> list[str]:
    return run_links([run_record(name, {}, []) for name in names], Path())


def test_page_needs_nothing_else(tmp_path):
    links = Links()
    links.feed(report_of(make_sweep(tmp_path / "sweep", seeds=2), output=tmp_path / "out"))
    assert "script" not in links.tags
    assert all(link.startswith("data:") for link in links.loads)
    assert sum(link.startswith("data:image/png") for link in links.loads) == len(PICTURES)
    runs = [link for link in links.opens if not link.startswith("#")]
    assert [(tmp_path / "out" / unquote(link)).resolve() for link in runs] == find_runs([tmp_path / "sweep"])
    assert f"]({runs[0]})" in (tmp_path / "out" / "report.md").read_text()
    assert table_links("a:b", '"x') == ["a%3Ab", "%22x"], "no scheme, no attribute"


def test_the_same_runs_give_the_same_report(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", seeds=2)
    for name in "ab":
        report_of(sweep, output=tmp_path / name)
    for name in ("report.csv", "report.md", "curves.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_report_of_a_real_run(finished_run):
    page = report_of(finished_run, output=finished_run / "report")
    assert "1 run with 1 seed of 1 setting on CartPole-v1" in page
    assert "scores are training returns" in page
    assert "[one seed]" in page
    status = json.loads((finished_run / "status.json").read_text())
    assert status["cpu_seconds"] > 0
    assert len(status["commands"]) == 1
    assert page == report_of(finished_run, output=finished_run / "report")  # the report is not a run
    (total,) = (word.partition("=")[2] for word in FINISHED if word.startswith("runner.total_episodes"))
    assert f"runner.total_episodes</td><td>{total}<" in page.replace(' class="long"', "")


def test_status_adds_up_when_a_run_is_resumed(finished_run):
    """CPU seconds add up; each command that trained the run is recorded once, in order."""
    path = finished_run / "status.json"
    status = json.loads(path.read_text())
    path.write_text(json.dumps(status | {"cpu_seconds": 1000.0, "commands": ["first"]}))
    call("resume", finished_run, "runner.total_episodes=6")
    after = json.loads(path.read_text())
    assert 1000 < after["cpu_seconds"] < 1100
    assert after["commands"][0] == "first"
    assert after["commands"][1].endswith(f"resume.py {finished_run} runner.total_episodes=6")


def test_half_a_sweep(tmp_path):
    sweep = make_sweep(tmp_path / "sweep")
    options = {"reached": 0.4, "level": 130}
    config = base("agent.lr=1e-3", "seed=3")
    odd = {"reproducible": False, "irreproducible_because": "ends <here>"}
    make_run(sweep / "killed", config, state="running", **options, **odd)
    with (sweep / "killed" / "seed=3" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "tr')
    config = base("agent.lr=1e-3", "seed=4", "num_seeds=2")
    make_run(sweep / "failed", config, state="failed", error="the loss of seed 4 is not finite", **options)
    make_run(sweep / "new", base("agent.lr=1e-5"), state="interrupted", **options)
    page = report_of(sweep, output=tmp_path / "out")
    assert "3 of 12 runs have not finished (1 failed, 2 interrupted)" in page
    assert "the last line of metrics.jsonl is torn" in page
    assert "the loss of seed 4 is not finite" in page
    assert "1 of 4 settings have no final evaluation return yet" in page
    assert "The settings have different seeds" in page
    assert "<h1>Report on sweep</h1>" in page
    assert "killed (ends &lt;here&gt;)" in page, "the environment ignores its seed"
    assert "different lengths" in page
    rows = rows_of(tmp_path / "out")
    assert (rows[0]["seeds"], rows[0]["evaluation_seeds"]) == ("6", "3")
    assert rows[-1]["evaluation_iqm"] == ""


def test_nothing_has_finished(tmp_path):
    make_run(tmp_path / "run", base(), state="interrupted", reached=0.3)
    page = report_of(tmp_path, output=tmp_path / "out")
    assert "The run has not finished (interrupted): " in page
    assert "The setting has no final " in page
    assert (tmp_path / "out" / "curves.png").exists()
    assert not (tmp_path / "out" / "scores.png").exists()


def test_a_run_that_has_just_started(tmp_path):
    make_run(tmp_path / "run", base(), state="running", reached=0, episodes=0)
    page = report_of(tmp_path, output=tmp_path / "out")
    assert "The run has not finished (" in page
    assert not list((tmp_path / "out").glob("*.png"))


def test_several_tasks(tmp_path):
    for env in ("cartpole", "acrobot"):
        for lr in ("1e-3", "1e-4"):
            make_run(tmp_path / env / lr, base(f"env={env}", f"agent.lr={lr}", "num_seeds=2"))
    page = report_of(tmp_path / "cartpole", tmp_path / "acrobot", output=tmp_path / "out")
    assert page.index(">Acrobot-v1</h2>") < page.index(">CartPole-v1</h2>")
    assert (tmp_path / "out" / "1-Acrobot-v1-curves.png").exists()
    assert (tmp_path / "out" / "2-CartPole-v1-curves.png").exists()


def test_the_same_seed_again_counts_once(tmp_path):
    for name in "ab":
        make_run(tmp_path / name, base(f"name={name}"))
    make_run(tmp_path / "c", base("seed=1"), reached=0.5, state="interrupted")
    page = report_of(tmp_path, output=tmp_path / "out")
    assert "another run of the same setting has them (1)" in page
    (row,) = rows_of(tmp_path / "out")
    assert (row["runs"], row["seeds"], row["evaluation_seeds"]) == ("3", "2", "1")


def test_seeds_of_any_size(tmp_path):
    seed = 2**63 - 1
    found = read_record(make_run(tmp_path / "run", base(f"seed={seed}", "num_seeds=2")))
    assert [one.number for one in found.seeds] == [*found.final] == [seed, seed + 1]


def test_many_settings(tmp_path):
    """Random values of several keys are separate effects; a logarithmic axis has plain numbers."""
    sweep = make_sweep(tmp_path / "sweep", lrs=tuple(np.geomspace(1e-5, 1e-2, 13).tolist()), seeds=1)
    for i, run in enumerate(sorted(sweep.iterdir())):
        change(run, "agent.gamma", 0.9 + 0.005 * (5 * i % 13))
        overrides = run / ".hydra" / "overrides.yaml"
        overrides.write_text(f"[agent.lr={i}, agent.gamma={i}]")
    page = report_of(sweep, output=tmp_path / "out")
    assert "The picture shows the 8 best of 13 settings" in page, "lines of more cannot be told apart"
    assert len(rows_of(tmp_path / "out")) == 13
    (task,) = sort_runs([read_record(run) for run in sorted(sweep.iterdir())])
    assert effects_table(analyse(task)).rows == []
    picture = draw_effects(analyse(task))
    picture.canvas.draw()
    assert [axes.get_xlabel() for axes in picture.axes] == ["agent.lr", "agent.gamma"]
    texts = [text.get_text() for text in picture.axes[0].get_xticklabels()]
    assert {"0.0001", "0.001"} <= set(texts)
    assert not any("$" in text for text in texts)


def test_a_folder_from_elsewhere_is_data(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", seeds=2)
    for i, run in enumerate(sorted(sweep.iterdir())):
        change(run, "name", EVIL)
        change(run, "env.id", EVIL)
        change(run, "agent.backup._target_", EVIL + "x" * 5000 * i)
        change(run, "agent", {**base()["agent"], f"_{EVIL}": f"=cmd()_{EVIL}{i}"})
        status = json.loads((run / "status.json").read_text())
        status |= {"error": EVIL, "commands": [EVIL], "versions": {EVIL: EVIL}, "git": [EVIL]}
        status |= {"created": EVIL, "state": "failed" if i == 0 else "finished"}
        (run / "status.json").write_text(json.dumps(status))
    out = tmp_path / "out"
    links = Links()
    page = report_of(sweep, output=out)
    links.feed(page)
    assert "script" not in links.tags
    assert "alert(1)" in page
    assert "<script" not in (out / "report.md").read_text().replace("\\<script", "")
    assert not any(value.startswith(("=", "+", "@")) for row in rows_of(out) for value in row.values())
    assert {path.parent for path in tmp_path.rglob("*.png")} == {out}


ODD_STATUS = {
    "a list": "[1]",
    "torn": '{"state": "fini',
    "deep": "[" * 100_000,
    "odd types": json.dumps(
        {"state": ["x"], "cpu_seconds": "9", "versions": 3, "commands": 4, "progress": [], "evaluation": 7}
    ),
    "odd numbers": json.dumps(
        {"state": "finished", "cpu_seconds": 1e400, "evaluation": {"0": [10**400], "x": [1.0], "1": []}}
    ),
    "nothing": "",
    "bytes": "\x00\xff",
}


def test_odd_status(tmp_path):
    make_run(tmp_path / "good", base("agent.lr=1e-3", "num_seeds=2"))
    for i, (name, text) in enumerate(ODD_STATUS.items(), start=1):
        run = make_run(tmp_path / name, base("num_seeds=2", f"seed={2 * i}"))
        (run / "status.json").write_text(text, encoding="latin-1")
    count = 1 + len(ODD_STATUS)
    page = report_of(tmp_path, output=tmp_path / "out")
    assert f"{count} runs with {2 * count} seeds of 2 settings" in page


LINES = {
    "no JSON": (b"x\n", 1),
    "no object": (b"[1]\n", 1),
    "two in one": (b'{"step": 1}{"step": 2}\n', 1),
    "no bytes of text": (b"\xff\xfe\x00\n", 1),
    "deep": (b"[" * 100_000 + b"\n", 1),
    "a huge number": (b"9" * 10_000 + b"\n", 1),
    "no step": (b'{"train/return": 5, "episode": 1}\n', 0),
    "a word": (b'{"step": "x", "episode": 1, "train/return": 5}\n', 1),
    "a list": (b'{"step": [1, 2], "episode": 1, "train/return": 5}\n', 1),
    "infinite": (b'{"step": 1, "episode": 1, "train/return": Infinity}\n', 1),
    "beyond a float": (b'{"step": 1' + b"0" * 400 + b', "episode": 1, "train/return": 5}\n', 1),
    "longer than a block": (b'{"step": ' + b"1" * 2_500_000 + b"}\n", 3),
}


@pytest.mark.parametrize(("line", "broken"), LINES.values(), ids=LINES.keys())
def test_broken_lines(tmp_path, line, broken):
    run = make_run(tmp_path / "run", base(), episodes=5)
    metrics = run / "seed=0" / "metrics.jsonl"
    whole = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join([*whole[:3], line, *whole[3:]]))
    found = read_record(run)
    assert len(found.seeds[0].train.returns) == 5
    assert any(f"{broken} lines" in note for note in found.notes) == bool(broken)
    report_of(run, output=tmp_path / "out")


def test_lines_of_tables_break_between_words():
    assert time_text("2026-01-31T12:00:00+0000") == "2026-01-31 12:00:00+0000"
    assert time_text(None) == "—"
    assert "P(X &gt; Y) [95&nbsp;%]" in Table(header=["P(X > Y) [95 %]"], rows=[]).html()


def test_links_and_pipes_are_not_followed(tmp_path):
    run = make_run(tmp_path / "runs" / "run", base("num_seeds=3"))
    secret = tmp_path / "secret"
    secret.write_text('{"step": 1, "episode": 1, "train/return": 4242}\n')
    (run / "seed=0" / "metrics.jsonl").unlink()
    (run / "seed=0" / "metrics.jsonl").symlink_to(secret)
    (run / "seed=1" / "metrics.jsonl").unlink()
    os.mkfifo(run / "seed=1" / "metrics.jsonl")
    (tmp_path / "runs" / "elsewhere").symlink_to(make_run(tmp_path / "other", base()))
    page = report_of(tmp_path / "runs", output=tmp_path / "out")
    assert "1 run with 1 seed" in page
    assert "4242" not in page
    assert "seed=0 has no metrics.jsonl" in page


def test_output_follows_no_link(tmp_path):
    run = make_run(tmp_path / "run", base())
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (run / "report").mkdir()
    for name in ("report.md", "curves.png"):
        (run / "report" / name).symlink_to(victim)
        assert "a symbolic link" in message(run)
        assert victim.read_text() == "mine"
        (run / "report" / name).unlink()
    shutil.rmtree(run / "report")
    (run / "report").symlink_to(tmp_path)
    assert "a symbolic link" in message(run)


def message(*arguments: object) -> str:
    """Run the command and return the message that it exits with."""
    argv, sys.argv = sys.argv, ["report.py", *map(str, arguments)]
    try:
        report()
    except SystemExit as exit:
        return str(exit.code)
    finally:
        sys.argv = argv
    return ""


def test_mistakes(tmp_path):
    assert "no such folder" in message(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no runs there" in message(tmp_path / "empty")
    run = make_run(tmp_path / "run", base())
    (run / ".hydra" / "config.yaml").write_text("a: [")
    assert "none of the runs can be read" in message(tmp_path)
    good = make_run(tmp_path / "good", base())
    assert message(tmp_path, "--output", tmp_path / "out") == ""
    assert "because they cannot be read (1)" in (tmp_path / "out" / "report.html").read_text()
    file = tmp_path / "file"
    file.write_text("")
    assert "cannot be written" in message(good, "--output", file)


@pytest.mark.process
def test_script(tmp_path):
    """It imports neither torch nor Hydra, and prints the path of the page."""
    make_sweep(tmp_path / "sweep", seeds=2)
    process = start("report", "sweep", cwd=tmp_path, python=["-X", "importtime"])
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 0, text
    assert "6 runs with 6 seeds of 3 settings on CartPole-v1\nsweep/report/report.html" in text
    assert not re.search(r"\| +(torch|hydra|omegaconf|tensorboard|gymnasium)$", text, re.M)


def browser() -> str:
    """Return a headless browser; skip where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or pytest.skip("no chromium is installed")


def load(page: Path, folder: Path) -> tuple[list[str], int, Path]:
    """Load a page in a headless browser that has no network.

    Returns:
        The messages of its console, the number of requests that the page (and not the browser itself) makes,
        and a picture.
    """
    folder.mkdir()
    picture, log = folder / "page.png", folder / "net.json"
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += ["--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND"]
    flags += ["--enable-logging=stderr", f"--log-net-log={log}", f"--user-data-dir={folder / 'profile'}"]
    flags += ["--virtual-time-budget=5000", "--window-size=1060,4000", f"--screenshot={picture}"]
    command = [browser(), *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    initiators = re.findall(r'"initiator":"([^"]*)"', log.read_text())
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return console, sum(name != "not an origin" for name in initiators), picture


@pytest.mark.parametrize("points", [1, 2])
def test_every_curve_shows_its_interval(points):
    """A single evaluation has a bar, since a band would be invisible."""
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    x = np.arange(points) + 10.0
    draw_curve(ax, Curve(x, Band(x - 8, x - 9, x - 6), x[None], complete=True), 0, seeds=False)
    (interval,) = ax.collections
    corners = np.concatenate([path.vertices for path in interval.get_paths()])
    assert corners.min(0).tolist() == [10, 1]
    assert corners.max(0).tolist() == [x[-1], x[-1] - 6]
    assert (interval.get_linewidth()[0] > 1) == (points == 1)


def test_curves_of_one_setting_explain_themselves(tmp_path):
    """The picture has a title, a legend and each seed; it omits a lone final evaluation."""
    run = make_run(tmp_path / "run", base("num_seeds=3", "name=mine"), episodes=20)
    (task,) = sort_runs([read_record(run)])
    picture = draw_curves(analyse(task))
    assert picture.get_suptitle() == "CartPole-v1, mine"
    (axes,) = picture.axes
    assert "reward" in axes.get_ylabel()
    assert axes.get_xlabel() == "environment steps (each point is a mean over 100)"
    assert [len(axes.lines), len(axes.collections)] == [3 + 1, 1]
    assert [text.get_text() for text in axes.get_legend().texts] == [
        *("interquartile mean of 3 seeds", "its 95 % bootstrap interval", "each seed")
    ]
    longer = make_run(tmp_path / "longer", base("num_seeds=3"), episodes=60)
    (task,) = sort_runs([read_record(longer)])
    assert [len(axes.lines) for axes in draw_curves(analyse(task)).axes] == [4, 4]


@pytest.mark.process
def test_page_loads_in_a_browser(tmp_path):
    """All pictures load, the console is empty, and the page makes no network request."""
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://canary.invalid/x.png"><script>console.error("hello")</script>')
    console, requests, _ = load(bad, tmp_path / "a")
    assert "hello" in console[0]
    assert requests == 1
    report_of(make_sweep(tmp_path / "sweep", seeds=2), output=tmp_path / "out")
    console, requests, picture = load(tmp_path / "out" / "report.html", tmp_path / "b")
    assert not console
    assert requests == 0
    assert picture.stat().st_size > 100_000  # with all charts painted


@pytest.mark.slow
@pytest.mark.process
def test_a_thousand_runs(tmp_path):
    """A hundred settings of ten runs with 3,000 episodes each: under 30 s of CPU and 1 GB."""
    template = base("num_seeds=1")
    for i in range(1000):
        template["agent"]["lr"], template["agent"]["gamma"] = (
            10.0 ** -(2 + i // 10 % 10 / 4),
            1 - i // 100 / 100,
        )
        template["seed"] = i % 10
        make_run(tmp_path / "sweep" / str(i), template, level=100 + i // 10, episodes=3000)
    before, start_time = child_seconds(), time.perf_counter()
    command = [sys.executable, str(SCRIPTS / "report.py"), str(tmp_path / "sweep")]
    subprocess.run([*command, "--output", str(tmp_path / "out")], check=True)
    seconds = child_seconds() - before
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{seconds:.1f} s of CPU, {time.perf_counter() - start_time:.1f} s, {most / 1e6:.2f} GB")
    assert seconds < 30
    assert most < 1e6


def seed_of(steps, returns, end):
    steps = np.array(steps, float)
    series = Series(steps, np.arange(len(steps)) + 1.0, np.array(returns, float))
    return Seed(0, series, series, (end, float(len(steps))))


def test_bins_by_hand():
    """Mean of each bin; an empty bin repeats the one before; NaN before the first and after the end."""
    seed = seed_of([15, 20, 21, 60], [1, 3, 5, 7], 70)
    found = binned(seed, np.arange(10.0, 110, 10), "step")
    np.testing.assert_array_equal(found, [np.nan, 2, 5, 5, 5, 7, 7, np.nan, np.nan, np.nan])


def test_latest_by_hand():
    found = latest(np.array([2.0, 4.0]), np.array([1.0, 9.0]), np.array([1.0, 2, 3, 4, 5]), end=4)
    np.testing.assert_array_equal(found, [np.nan, 1, 1, 9, np.nan])


def test_a_point_of_a_short_curve_is_one_episode(tmp_path):
    make_run(tmp_path / "run", base("runner.total_steps=40"), episodes=40)
    (task,) = sort_runs([read_record(tmp_path / "run")])
    (curve,) = curves_of(task.settings[0], "training", task)
    np.testing.assert_array_equal(curve.x, np.arange(1, 41))
    assert draw_curves(analyse(task)).axes[0].get_xlabel() == "environment steps"


UNITS = [
    ({"runner.total_steps": "9"}, (100, 900), "step"),
    ({"runner.total_episodes": "9"}, (100, 900), "step"),
    ({"runner.total_episodes": "9"}, (100, 105), "episode"),
    ({"runner.total_episodes": "9"}, (100,), "episode"),
]


@pytest.mark.parametrize(("config", "ends", "right"), UNITS)
def test_the_axis_counts_steps_where_episodes_compare_different_lengths(config, ends, right):
    runs = []
    for i, end in enumerate(ends):
        record = run_record(f"runs/{i}", config | {"env.id": "A-v0", "x": str(i)}, [f"x={i}"])
        runs.append(replace(record, seeds=[seed_of([1], [1], end)]))
    (task,) = sort_runs(runs)
    assert task.unit == right


def test_the_title_names_the_folders():
    runs = [run_record(f"{name}/1", {}, []) for name in "abcdefg"]
    assert title_of(runs[:1]) == "1", "the folder of the run itself"
    assert title_of(runs[:2]) == "a, b"
    assert title_of(runs) == "a, b, c, d, e and 2 more"


def test_many_keys_that_differ_are_rows(tmp_path):
    for head in ("expected", "categorical"):
        make_run(tmp_path / head, base(f"network/head={head}"), overrides=[f"network/head={head}"])
    (task,) = sort_runs([read_record(path) for path in find_runs([tmp_path])])
    analysis = analyse(task)
    assert [*task.keys] == ["network/head"], "the others follow from it"
    table = settings_table(analysis, task.varying | {f"key{i}": ["1", "2"] for i in range(5)})
    assert [*table.header] == ["key", "1", "2"]
    (row,) = (row for row in table.rows if row[0] == "network.head")
    assert sorted(row) == ["CategoricalHead", "ExpectedHead", "network.head"]
    assert settings_table(analysis, task.keys).header == ["", "setting", "network/head"]


def test_curves_have_a_piece_for_each_set_of_seeds(tmp_path):
    make_run(tmp_path / "a", base("num_seeds=3"))
    make_run(tmp_path / "b", base("seed=3"), state="interrupted", reached=0.5)
    (task,) = sort_runs([read_record(path) for path in find_runs([tmp_path])])
    (setting,) = task.settings
    for kind in ("training", "evaluation"):
        first, second = curves_of(setting, kind, task)[-2:]
        assert (first.complete, second.complete) == (True, False)
        assert first.x[-1] == pytest.approx(5000, abs=200)
        assert second.x[-1] == 10_000
        assert (second.band.low <= second.band.value).all()


def run_record(path: str, config: dict[str, str], overrides: list[str]) -> RunRecord:
    empty = {"seeds": [], "state": "finished", "error": "", "status": {}, "final": {}, "notes": []}
    return RunRecord(path=path, config=config, overrides=typed(overrides, config), **empty)


def test_tasks_of_one_environment_are_named_after_what_differs():
    kwargs = {"env.id": "A-v0", "env.kwargs.ramping": "true", "env.kwargs.sticky": "0.1"}
    configs = [kwargs, kwargs | {"env.kwargs.sticky": "0"}, {"env.id": "B-v0"}]
    tasks = sort_runs([run_record(f"runs/{i}", config, []) for i, config in enumerate(configs)])
    assert [t.name for t in tasks] == ["A-v0 (env.kwargs.sticky=0)", "A-v0 (env.kwargs.sticky=0.1)", "B-v0"]


LABELS = {
    "an option": ([["agent=n_step"], ["agent=rainbow"]], ["agent=n_step", "agent=rainbow"]),
    "what was not typed": ([[], ["agent=double"]], ["default", "agent=double"]),
    "a value that was not typed": ([[], ["agent.lr=1e-3"]], ["agent.lr=0.0005", "agent.lr=0.001"]),
    "the same number": ([["agent.lr=1e-3", "x=1"], ["agent.lr=0.001", "x=2"]], ["x=1", "x=2"]),
    "keys of no setting": (
        [["agent=double", "seed=1", "name=a", "hydra.launcher.n_jobs=2"], ["agent=dqn", "seed=2", "name=b"]],
        ["agent=double", "agent=dqn"],
    ),
    "several": (
        [["agent.lr=1e-3", "+x=[1,2]"], ["agent.lr=1e-3", "~y"], ["agent.lr=1e-4"]],
        ["agent.lr=0.001, x=[1,2]", "agent.lr=0.001, ~y", "agent.lr=0.0001"],
    ),
}


@pytest.mark.parametrize(("runs", "right"), LABELS.values(), ids=LABELS.keys())
def test_settings_are_named_after_the_overrides_that_differ(runs, right):
    records = []
    for i, overrides in enumerate(runs):
        given = [float(one.partition("=")[2]) for one in overrides if one.startswith("agent.lr")]
        config = {
            "env.id": "A-v0",
            "agent.lr": f"{(given or [5e-4])[0]:g}",
            "agent": "mine.Agent",
            "key": str(i),
        }
        records.append(run_record(f"runs/{i}", config, overrides))
    (task,) = sort_runs(records)
    assert [setting.label for setting in task.settings] == right


def test_labels_have_short_keys_where_they_are_long():
    keys = ["memory.sampler.alpha", "memory.sampler.epsilon", "agent.epsilon"]
    values = [dict.fromkeys(keys, "0.123456789")]
    (text,) = labels(values, keys)
    assert text == "alpha=0.123456789, memory.sampler.epsilon=0.123456789, agent.epsilon=0.123456789"


def test_settings_with_equal_overrides_are_named_after_their_keys_too():
    """As after a change of a default value, or where no overrides were recorded."""
    runs = [
        run_record(
            f"runs/{agent}{lr}", {"env.id": "A-v0", "agent": agent, "agent.lr": lr}, [f"agent={agent}"]
        )
        for agent in ("double", "dqn")
        for lr in ("1", "2")
    ]
    (task,) = sort_runs(runs)
    right = [f"agent={agent}, agent.lr={lr}" for agent in ("double", "dqn") for lr in ("1", "2")]
    assert [setting.label for setting in task.settings] == right
    assert (list(task.swept), list(task.unswept)) == (["agent"], ["agent.lr"])


def test_folders_are_groups():
    """Their names are in the labels; keys that only differ between them are not those of a sweep."""
    values = {"lr/a": ("1", "32"), "lr/b": ("2", "32"), "tuned/a": ("3", "8")}
    runs = [
        run_record(path, {"env.id": "A-v0", "agent.lr": lr, "size": size}, [f"agent.lr={lr}"])
        for path, (lr, size) in values.items()
    ]
    (task,) = sort_runs(runs)
    assert [one.label for one in task.settings] == ["lr: agent.lr=1", "lr: agent.lr=2", "tuned"]
    assert task.swept == {"agent.lr": ["1", "2", "3"]}
    assert task.unswept == {"size": ["32", "32", "8"]}
    names = folder_names([Path("/a/x/lr"), Path("/a/y/lr"), Path("/a/nets")])
    assert [*names.values()] == ["x/lr", "y/lr", "nets"]


def test_the_same_scores_have_the_same_interval_everywhere(tmp_path):
    make_sweep(tmp_path, seeds=5)
    (task,) = sort_runs([read_record(path) for path in find_runs([tmp_path])])
    found = analyse(task)
    (effect,) = found.effects
    by_value = {text: estimate for text, estimate, _ in effect.rows}
    assert {
        score.setting.overrides["agent.lr"]: score.iqm["evaluation"] for score in found.scores
    } == by_value


UP, DOWN, UNSURE = Estimate(0.9, 0.7, 1), Estimate(0.1, 0, 0.3), Estimate(0.6, 0.4, 0.8)
MORE, MAYBE = Estimate(9, 1, 20), Estimate(9, -9, 20)
VERDICTS = [
    (UP, MORE, "X is better"),
    (UP, None, "X is better"),
    (UP, MAYBE, "X wins more often, but its IQM may not be higher"),
    (DOWN, MORE, "X wins less often, though its IQM is higher"),
    (UNSURE, MORE, "unclear"),
    (Estimate(1, np.nan, np.nan), None, "unclear"),
]


@pytest.mark.parametrize(("chance", "difference", "right"), VERDICTS)
def test_a_pair_is_judged_by_both_intervals(chance, difference, right):
    assert Pair("X", "Y", chance, difference, 5).verdict == right


def test_texts():
    assert [setting_text(x) for x in (None, True, 1, 1.0, 1e-4, [1, None, "a"])] == [
        *("null", "true", "1", "1", "0.0001", "[1, null, a]")
    ]
    assert one_line("a\n\x07b" + "x" * 5000).startswith(r"a \x07bx")
    assert [duration(x) for x in (None, 5, 600, 7200)] == ["—", "5.0 s", "10.0 min", "2.0 h"]
    assert seeds_text([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert [harmless(x) for x in ("=1+1", "-1", "-x", "a")] == ["'=1+1", "-1", "'-x", "a"]
