"""Sort runs into tasks (one environment each) and settings (one configuration each).

The runs of a setting differ only in seed, number of seeds and name.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from dqn.errors import shorten
from dqn.report.formatting import short_name
from dqn.report.read import RunRecord, Seed

NOT_SETTINGS = frozenset({"seed", "num_seeds", "name"})
TASK_KEYS = ("env.id", "env.module", "env.kwargs", "env.wrappers")
LABEL_LENGTH = 60
ABSENT = "—"


@dataclass(kw_only=True)
class Setting:
    """Runs of one configuration, with each of their seeds once."""

    config: dict[str, str]
    runs: list[RunRecord] = field(default_factory=list)
    seeds: dict[int, tuple[RunRecord, Seed]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    """Seeds that an earlier run has already; they are left out."""
    label: str = ""

    def add(self, run: RunRecord) -> None:
        """Add a run; add the best ones first, since the first run with a seed is the one that counts."""
        self.runs.append(run)
        for seed in run.seeds:
            if seed.number in self.seeds:
                self.repeated.append(f"{run.path} seed={seed.number}")
            else:
                self.seeds[seed.number] = (run, seed)


@dataclass(frozen=True, kw_only=True)
class Task:
    """The settings of one environment."""

    name: str
    settings: list[Setting]
    varying: dict[str, list[str]]
    """Keys that differ between the settings, with the value of each setting."""
    unit: str
    """Unit of the learning curves: "step", or "episode" where all runs count episodes."""

    @property
    def runs(self) -> list[RunRecord]:
        return [run for setting in self.settings for run in setting.runs]

    @property
    def last(self) -> float:
        """Return the step or episode at which the longest learning curve ends."""
        seeds = [seed for setting in self.settings for _, seed in setting.seeds.values()]
        return max((seed.end[self.unit == "episode"] for seed in seeds), default=0.0)


def sort_runs(runs: Sequence[RunRecord]) -> list[Task]:
    """Return the tasks of `runs`, by name, each with its settings."""
    by_task: dict[tuple[str, ...], dict[frozenset[tuple[str, str]], Setting]] = defaultdict(dict)
    order = {"finished": 0, "running": 1, "interrupted": 2}
    for run in sorted(runs, key=lambda run: (order.get(run.state, 3), run.path)):
        config = {key: value for key, value in run.config.items() if key not in NOT_SETTINGS}
        entries = tuple(f"{k}={v}" for k, v in sorted(config.items()) if k.startswith(TASK_KEYS))
        by_task[entries].setdefault(frozenset(config.items()), Setting(config=config)).add(run)
    found = {entries: list(settings.values()) for entries, settings in by_task.items()}
    ids = [settings[0].config.get("env.id", "?") for settings in found.values()]
    tasks = []
    for (entries, settings), id in zip(found.items(), ids, strict=True):
        name = id if ids.count(id) == 1 else shorten(", ".join(entries), LABEL_LENGTH)
        tasks.append(make_task(name, settings))
    return sorted(tasks, key=lambda task: task.name)


def make_task(name: str, settings: list[Setting]) -> Task:
    """Return a task, and label its settings."""
    keys = sorted({key for setting in settings for key in setting.config})
    table = {key: [setting.config.get(key, ABSENT) for setting in settings] for key in keys}
    varying = {key: values for key, values in table.items() if len(set(values)) > 1}
    names = [", ".join(sorted({run.config.get("name", ABSENT) for run in s.runs})) for s in settings]
    for setting, label in zip(settings, labels(varying, names), strict=True):
        setting.label = label
    episodes = all("runner.total_episodes" in setting.config for setting in settings)
    return Task(name=name, settings=settings, varying=varying, unit="episode" if episodes else "step")


def labels(varying: dict[str, list[str]], names: Sequence[str]) -> list[str]:
    """Return a label for each setting: the keys that differ, else `names`, else few distinguishing keys."""
    number = len(names)
    if number == 1:
        return ["all runs"]
    few = value_texts(varying, distinguishing_keys(varying, number))
    for rows in (value_texts(varying, list(varying)), names, few):
        if len(set(rows)) == number and max(map(len, rows)) <= LABEL_LENGTH:
            return list(rows)
    return [f"{i + 1}: {shorten(row, LABEL_LENGTH)}" for i, row in enumerate(few)]


def value_texts(varying: dict[str, list[str]], keys: Sequence[str]) -> list[str]:
    """Return the values of `keys` in each setting; a key is its last part where no other has the same."""
    last = [key.rpartition(".")[2] for key in keys]
    names = [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]
    rows = zip(*(varying[key] for key in keys), strict=True)
    return [", ".join(f"{n}={short_name(x)}" for n, x in zip(names, row, strict=True)) for row in rows]


def distinguishing_keys(varying: dict[str, list[str]], number: int) -> list[str]:
    """Return few keys whose values distinguish all settings, found greedily."""
    chosen: list[str] = []
    groups: list[tuple[str, ...]] = [()] * number  # the values chosen so far, of each setting
    while len(set(groups)) < number:
        best = max(varying, key=lambda key: len(set(zip(groups, varying[key], strict=True))))
        chosen.append(best)
        groups = [(*group, value) for group, value in zip(groups, varying[best], strict=True)]
    return sorted(chosen)
