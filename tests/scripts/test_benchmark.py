"""The benchmark: its arithmetic, its error messages, and the work that our runs do."""

import json
import sys
from dataclasses import replace

import pytest
import torch
from commands import load_script
from helpers import ROOT

sys.path.append(str(ROOT / "scripts"))
from benchmarks import environments, limits, pixels, processes, subjects, table, whole, works

LINE = table.Line(
    work="work", beside="them", ours=[1.0, 3.0, 2.0], theirs=[4.0, 4.0, 4.0], unit="s CPU", most=0.5
)


def test_ratios_are_of_pairs():
    assert LINE.ratios == [0.25, 0.75, 0.5]
    cells = [
        "work, beside them",
        "2 s CPU (1 to 3)",
        "4 s CPU (4 to 4)",
        "0.50 (0.25 to 0.75)",
        "≤ 0.5",
        "yes",
    ]
    assert LINE.cells() == cells


@pytest.mark.parametrize(
    ("change", "met"),
    [
        ({"most": 0.49}, False),
        ({"most": None}, None),
        ({"most_ours": 2.0}, True),
        ({"most_ours": 1.9}, False),
        ({"ours": [3.0, 3.0, 1.0]}, False),
    ],
)
def test_targets(change, met):
    assert replace(LINE, **change).met is met


def test_results_are_written_and_summarized(tmp_path):
    table.write(tmp_path, "light", [], [LINE], {"them": {"torch": "1.0"}})
    file = table.write(tmp_path, "heavy", ["agent.lr=1"], [replace(LINE, work="other")], {})
    record = json.loads(file.read_text())
    assert record["overrides"] == ["agent.lr=1"]
    assert record["circumstances"]["threads"] == processes.ONE_THREAD
    assert record["lines"][0]["ours"] == [1.0, 3.0, 2.0]
    summary = (tmp_path / "table.md").read_text()
    assert "`python scripts/benchmark.py heavy --overrides agent.lr=1`" in summary
    targets, *parts = summary.split("`python")
    assert [text.count("| work, beside them |") for text in (targets, *parts)] == [1, 0, 1]
    assert [text.count("| other (agent.lr=1), beside them |") for text in (targets, *parts)] == [1, 0, 0]
    assert parts[0].count("| other, beside them |") == 1


@pytest.mark.parametrize(
    "work", [works.LIGHT, works.HEAVY, works.START, works.MINATAR, works.LIGHT.lasting(2_000)]
)
def test_updates_are_counted_as_the_loop_makes_them(work):
    steps = range(1, work.steps + 1)
    assert work.updates == sum(n % work.train_period == 0 and n >= work.learning_starts for n in steps)


@pytest.mark.parametrize("net", pixels.NETS, ids=lambda net: net.name)
def test_both_sides_have_the_same_network(net):
    ours = subjects.learner(net.overrides(), net.spec, [0], torch.device("cpu")).online
    obs = net.spec.obs
    theirs = limits.ImageModule(obs, net.convolutions, net.hidden_size, net.spec.num_actions)
    sizes = [sorted(leaf.numel() for leaf in network.parameters()) for network in (ours, theirs)]
    assert sizes[0] == sizes[1]
    given = torch.zeros(2, *obs.stacked_shape, dtype=torch.bool)
    assert theirs(given).shape == ours(given[None]).mean()[0].shape


def test_updates_on_the_cpu_stand_for_those_on_a_gpu(capsys):
    setting = whole.Setting(repeats=1, quick=True, overrides=[], cache=None, results=None, peers=[])
    cpu = torch.device("cpu")
    (line,) = pixels.updates(works.MINATAR_NET, 2, {"": []}, setting, cpu, most=2.0)
    assert line.work == "update of minatar, K = 2, batch 32, per seed"
    assert line.met is not None
    assert "updates/s" in capsys.readouterr().out
    found = pixels.alone_or_stacked(works.MINATAR_NET, 2, [], cpu)
    assert found == "a seed alone equals that seed in a stack of 2"


@pytest.mark.process
def test_cost_of_a_process(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint('done')\ntime.sleep(0.3)"
    cost, text = processes.run([sys.executable, "-c", busy], tmp_path)
    assert text == "done\n"
    assert cost.cpu >= 0.3
    assert cost.wall >= cost.cpu + 0.25  # sleeping takes no CPU time
    with pytest.raises(SystemExit, match=r"exit code 1:\n(.|\n)*ZeroDivisionError"):
        processes.run([sys.executable, "-c", "1 / 0"], tmp_path)


@pytest.mark.process
def test_a_run_of_ours_is_the_work():
    run = whole.ours(works.LIGHT.lasting(400), ["network.torso.hidden_sizes=[8]"], 0, num_seeds=2)
    assert 0 < run.loop < run.cost.cpu


def test_a_run_that_is_not_the_work_is_refused(monkeypatch):
    done = json.dumps({"steps": 400, "updates": 41, "loop": 1.0, "return": None})
    monkeypatch.setattr(whole, "run", lambda command, folder: (processes.Cost(2.0, 2.0), done))
    with pytest.raises(
        SystemExit, match="should be 400 environment steps and 21 updates, but it was 400 and 41"
    ):
        whole.ours(works.LIGHT.lasting(400), [], 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing"], "part nothing: should be among light, long"),
        (["--peers", "sb4"], "--peers sb4: should be among sb3, tianshou"),
        (["--repeats", "0"], "--repeats 0: should be at least 1"),
        (["start", "--overrides", "agent.lr=-1"], "agent.lr=-1: should be greater than 0"),
    ],
)
def test_mistakes_are_reported_before_anything_is_measured(
    arguments, complaint, tmp_path, monkeypatch, capsys
):
    benchmark = load_script("benchmark")
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments, "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert complaint in capsys.readouterr().err + str(ended.value)
    assert list(tmp_path.iterdir()) == []


def test_a_peer_that_cannot_be_installed_is_left_out(tmp_path, monkeypatch, capsys):
    peer = environments.Peer("Nobody", "nobody")
    monkeypatch.setattr(environments, "PROGRAMS", tmp_path)
    (tmp_path / "nobody.txt").write_text("./there_is_no_such_folder\n")
    assert environments.python_of(peer, tmp_path / "cache") is None
    assert "Nobody is left out" in capsys.readouterr().err
    assert not (tmp_path / "cache" / "nobody" / "requirements.txt").exists()


def test_every_peer_has_its_files():
    for peer in environments.PEERS:
        assert "==" in peer.requirements.read_text()
        programs = [name for name in (peer.train, peer.replay) if name]
        assert programs
        assert all((environments.PROGRAMS / name).exists() for name in programs)
