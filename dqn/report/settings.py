"""Sort runs into tasks (one environment each) and settings (one configuration each).

The runs of a setting differ only in seed, number of seeds and name. Settings are named after the overrides
in which the runs of their folder differ, and after the folder too if there are several.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dqn.errors import one_line, shorten
from dqn.report.formatting import short_name
from dqn.report.labels import DEFAULT, LABEL_LENGTH, folder_names, labels, swept
from dqn.report.read import RunRecord, Seed

NOT_SETTINGS = frozenset({"seed", "num_seeds", "name"})
TASK_KEYS = ("env.id", "env.module", "env.kwargs", "env.wrappers")
ABSENT = "—"
SIMILAR = 1.1
"""Greatest ratio of the settings' steps with which an axis of episodes compares them fairly."""
LISTED = 5
"""Names in a title."""


@dataclass(kw_only=True)
class Setting:
    """Runs of one configuration, with each of their seeds once."""

    config: dict[str, str]
    runs: list[RunRecord] = field(default_factory=list)
    seeds: dict[int, tuple[RunRecord, Seed]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    """Seeds that an earlier run has already; they are left out."""
    label: str = ""
    overrides: dict[str, str] = field(default_factory=dict)
    """The swept keys of its folder and their values."""

    @property
    def folder(self) -> Path:
        """Return the folder of the runs, or of the first of them."""
        return self.runs[0].folder

    def value(self, key: str) -> str | None:
        """Return the value of an override or, if it was not given, of a key of the configuration."""
        return self.runs[0].overrides.get(key, self.config.get(key) if "." in key else None)

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
    swept: dict[str, list[str]]
    """Keys that were swept in some folder, with the value of each setting."""
    unswept: dict[str, list[str]]
    """Other keys that differ, except those that follow from what was swept."""
    varying: dict[str, list[str]]
    """All keys of the configurations that differ."""
    unit: str
    """Unit of the learning curves: "step" or "episode"."""

    @property
    def keys(self) -> dict[str, list[str]]:
        """Return the keys that make the difference, with the value of each setting."""
        return self.swept | self.unswept

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
    shared = {
        id: set.intersection(*(set(e) for e, i in zip(found, ids, strict=True) if i == id)) for id in ids
    }
    names = folder_names(dict.fromkeys(run.folder for run in runs))
    tasks = []
    for (entries, settings), id in zip(found.items(), ids, strict=True):
        own = ", ".join(entry for entry in entries if entry not in shared[id])
        name = f"{id} ({shorten(own, LABEL_LENGTH)})" if own else id
        tasks.append(make_task(name, settings, names))
    return sorted(tasks, key=lambda task: task.name)


def make_task(name: str, settings: list[Setting], names: Mapping[Path, str]) -> Task:
    """Return a task and label its settings; `names` are those of the folders."""
    by_folder: dict[Path, list[Setting]] = defaultdict(list)
    for setting in settings:
        by_folder[setting.folder].append(setting)
    for folder, group in by_folder.items():
        label_group(group, names[folder] if len(by_folder) > 1 else "")
    keys = dict.fromkeys(key for setting in settings for key in setting.overrides)
    varying = differing(settings)
    unswept = {k: v for k, v in varying.items() if k not in keys and not follows(k, by_folder.values())}
    return Task(
        name=name,
        settings=settings,
        swept={key: [setting.value(key) or ABSENT for setting in settings] for key in keys},
        unswept=unswept,
        varying=varying,
        unit=unit_of(settings),
    )


def differing(settings: Sequence[Setting]) -> dict[str, list[str]]:
    """Return the keys in which the configurations of settings differ, with the value of each."""
    keys = sorted({key for setting in settings for key in setting.config})
    table = {key: [setting.config.get(key, ABSENT) for setting in settings] for key in keys}
    return {key: values for key, values in table.items() if len(set(values)) > 1}


def follows(key: str, groups: Iterable[list[Setting]]) -> bool:
    """Return whether the overrides of a folder's runs explain that a key differs."""
    values = [[(tuple(s.overrides.items()), s.config.get(key)) for s in group] for group in groups]
    explained = all(len(set(group)) == len({overrides for overrides, _ in group}) for group in values)
    return explained and any(len({value for _, value in group}) > 1 for group in values)


def label_group(settings: Sequence[Setting], folder: str) -> None:
    """Label the settings of a folder: by the overrides that differ, and where these are equal by few keys."""
    keys = swept([setting.runs[0].overrides for setting in settings], NOT_SETTINGS)
    for setting in settings:
        setting.overrides = {key: value for key in keys if (value := setting.value(key)) is not None}
    texts = labels([setting.overrides for setting in settings], keys)
    for text, number in Counter(texts).items():
        if number > 1:
            same = [i for i, one in enumerate(texts) if one == text]
            for i, more in zip(same, distinguished([settings[i] for i in same]), strict=True):
                texts[i] = ", ".join(filter(None, [text, more]))
    for setting, text in zip(settings, texts, strict=True):
        if folder:
            parts = [folder, text or DEFAULT] if len(settings) > 1 else [folder]
            setting.label = ": ".join(parts)
        else:
            setting.label = text or (DEFAULT if len(settings) > 1 else "all runs")


def unit_of(settings: Sequence[Setting]) -> str:
    """Return the unit of the horizontal axis, in which all settings can be compared.

    Runs of equally many episodes can differ in steps, and so in updates.
    """
    if not all("runner.total_episodes" in setting.config for setting in settings):
        return "step"
    steps = [max(seed.end[0] for _, seed in one.seeds.values()) for one in settings if one.seeds]
    return "step" if len(steps) > 1 and max(steps) > SIMILAR * min(steps) else "episode"


def title_of(runs: Sequence[RunRecord]) -> str:
    """Return the names of the folders that the runs are in, or of the only run."""
    names = [*folder_names(dict.fromkeys(run.folder for run in runs)).values()]
    if len(runs) == 1:
        names = [one_line(os.path.basename(os.path.abspath(runs[0].path)))]
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def distinguished(settings: Sequence[Setting]) -> list[str]:
    """Return few keys that distinguish settings, with the values of each setting."""
    varying = differing(settings)
    keys = distinguishing_keys(varying, len(settings))
    columns = [[short_name(value) for value in varying[key]] for key in keys]
    return labels([dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)], keys)


def distinguishing_keys(varying: Mapping[str, Sequence[str]], number: int) -> list[str]:
    """Return few keys whose values distinguish all settings, found greedily."""
    chosen: list[str] = []
    groups: list[tuple[str, ...]] = [()] * number  # the values chosen so far, of each setting
    while len(set(groups)) < number:
        best = max(varying, key=lambda key: len(set(zip(groups, varying[key], strict=True))))
        chosen.append(best)
        groups = [(*group, value) for group, value in zip(groups, varying[best], strict=True)]
    return sorted(chosen)
