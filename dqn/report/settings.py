"""Runs sorted into tasks and settings: equal but for seed, number of seeds and name is one setting."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from dqn.report.formatting import short_name, shorten
from dqn.report.read import RunRecord, Seed

NOT_SETTINGS = frozenset({"seed", "num_seeds", "name"})
TASK_KEYS = ("env.id", "env.module", "env.kwargs", "env.wrappers")
LABEL_LENGTH = 60
ABSENT = "—"


@dataclass(kw_only=True)
class Setting:
    """Runs of one configuration, and each of their seeds once."""

    config: dict[str, str]
    runs: list[RunRecord] = field(default_factory=list)
    seeds: dict[int, tuple[RunRecord, Seed]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    """What was left out because a seed is there already."""
    label: str = ""

    def add(self, run: RunRecord) -> None:
        """Add a run, best ones first: a seed that is there already is the same run again, no further one."""
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
    """The keys that differ between the settings, with the value of each setting."""
    unit: str
    """What learning curves count: "step", or "episode" where all runs do."""

    @property
    def runs(self) -> list[RunRecord]:
        return [run for setting in self.settings for run in setting.runs]


def sort_runs(runs: Sequence[RunRecord]) -> list[Task]:
    """Return the tasks of `runs`, by name, each with its settings."""
    by_task: dict[tuple[str, ...], dict[frozenset[tuple[str, str]], Setting]] = defaultdict(dict)
    order = {"finished": 0, "running": 1, "interrupted": 2}
    for run in sorted(runs, key=lambda run: (order.get(run.state, 3), run.path)):
        config = {key: value for key, value in run.config.items() if key not in NOT_SETTINGS}
        task = tuple(f"{k}={v}" for k, v in sorted(config.items()) if k.startswith(TASK_KEYS))
        key = frozenset(config.items())
        by_task[task].setdefault(key, Setting(config=config)).add(run)
    ids = [settings_of(found)[0].config.get("env.id", "?") for found in by_task.values()]
    tasks = []
    for (words, found), id in zip(by_task.items(), ids, strict=True):
        name = id if ids.count(id) == 1 else shorten(", ".join(words), LABEL_LENGTH)
        tasks.append(task_of(name, settings_of(found)))
    return sorted(tasks, key=lambda task: task.name)


def settings_of(found: dict[frozenset[tuple[str, str]], Setting]) -> list[Setting]:
    return list(found.values())


def task_of(name: str, settings: list[Setting]) -> Task:
    """Return a task whose settings have labels."""
    keys = sorted({key for setting in settings for key in setting.config})
    table = {key: [setting.config.get(key, ABSENT) for setting in settings] for key in keys}
    varying = {key: values for key, values in table.items() if len(set(values)) > 1}
    names = [", ".join(sorted({run.config.get("name", ABSENT) for run in s.runs})) for s in settings]
    for setting, label in zip(settings, labels(varying, names), strict=True):
        setting.label = label
    episodes = all("runner.total_episodes" in setting.config for setting in settings)
    return Task(name=name, settings=settings, varying=varying, unit="episode" if episodes else "step")


def labels(varying: dict[str, list[str]], names: Sequence[str]) -> list[str]:
    """Return a name for each setting, of the keys that differ; where that is long, `names` or few keys."""
    number = len(names)
    if number == 1:
        return ["all runs"]
    few = value_texts(varying, distinguishing_keys(varying, number))
    for rows in (value_texts(varying, list(varying)), names, few):
        if len(set(rows)) == number and max(map(len, rows)) <= LABEL_LENGTH:
            return list(rows)
    return [f"{i + 1}: {shorten(row, LABEL_LENGTH)}" for i, row in enumerate(few)]


def value_texts(varying: dict[str, list[str]], keys: Sequence[str]) -> list[str]:
    """Return the values of `keys` in each setting as text."""
    short = short_names(keys)
    rows = zip(*(varying[key] for key in keys), strict=True)
    return [", ".join(f"{short[k]}={short_name(x)}" for k, x in zip(keys, row, strict=True)) for row in rows]


def distinguishing_keys(varying: dict[str, list[str]], number: int) -> list[str]:
    """Return few keys whose values distinguish all settings, the most distinguishing first."""
    chosen: list[str] = []
    groups: list[tuple[str, ...]] = [()] * number  # of each setting: the values that are chosen so far
    while len(set(groups)) < number:
        best = max(varying, key=lambda key: len(set(zip(groups, varying[key], strict=True))))
        chosen.append(best)
        groups = [(*group, value) for group, value in zip(groups, varying[best], strict=True)]
    return sorted(chosen)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return each key's last part, or all of it where two have the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}
