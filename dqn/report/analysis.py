"""The numbers of a report: scores, curves, pairs and effects of one task, with intervals."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from dqn import stats
from dqn.report.curves import Curve, curves_of
from dqn.report.formatting import to_number
from dqn.report.settings import ABSENT, Setting, Task
from dqn.seeding import stream
from dqn.stats import Band, Estimate
from dqn.storage.metrics import RECENT_EPISODES
from dqn.types import Floats

MAX_CHARTED = 24
"""Settings in a chart that gives each a row or a panel."""
MAX_LINES = 8
"""Settings in a chart of lines; readers cannot distinguish more colours."""
CROWDED = 4
"""Settings; with more, a picture has no room for every interval."""
BETTER = "X is better"
ROLE = "report"
"""Role of the random stream of every interval, so that none depends on what else is in the report."""
EFFECTS = 8
"""Keys whose effect is drawn."""


class Score(NamedTuple):
    """The results of a setting's finished runs."""

    setting: Setting
    returns: dict[str, dict[int, float]]
    """Mean return of each seed, by kind: "evaluation" and "training"."""
    iqm: dict[str, Estimate]
    """Interquartile mean of the returns, by kind; without an interval where only one seed has a score."""
    cpu_seconds: float | None


class Pair(NamedTuple):
    """Two settings compared."""

    better: str
    worse: str
    probability: Estimate
    difference: Estimate | None
    """Paired by the seeds that both have; None where they share fewer than two."""
    num_pairs: int

    @property
    def verdict(self) -> str:
        """Return what both intervals together say; the paired difference says nothing where it is missing."""
        chance, difference = self.probability, self.difference
        if not (chance.low > 0.5 or chance.high < 0.5):
            return "unclear"
        if chance.high < 0.5:
            return "X wins less often, though its IQM is higher"
        if difference is not None and not difference.low > 0:
            return "X wins more often, but its IQM may not be higher"
        return BETTER


class Effect(NamedTuple):
    """The scores at each value of one key, averaged over the other keys."""

    key: str
    linked: list[str]
    """Keys that change with it, so their effects cannot be separated."""
    rows: list[tuple[str, Estimate | None, int]]
    """Each value with its interquartile mean and number of scores."""

    @property
    def name(self) -> str:
        """Return the key and those linked to it, which are only counted if they are more than two."""
        if len(self.linked) > 2:
            return f"{self.key} and {len(self.linked)} keys linked to it"
        return " = ".join([self.key, *self.linked])


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All numbers of a task."""

    task: Task
    kind: str
    """Kind of the main scores: "evaluation", or "training" where no run has an evaluation."""
    scores: list[Score]
    """By the main score, best first; settings without one last."""
    charted: list[Score]
    """The best settings."""
    scored: list[Score]
    """The charted settings that have a main score."""
    curves: dict[str, list[list[Curve]]]
    """By kind, the curves of each charted setting."""
    thresholds: Floats
    profiles: list[Band]
    pairs: list[Pair]
    effects: list[Effect]

    @property
    def one_seed(self) -> bool:
        """Return whether no setting has several seeds: every interquartile mean is then a seed's value."""
        return all(len(score.setting.seeds) < 2 for score in self.scores)


def analyse(task: Task) -> Analysis:
    """Return the numbers of a task; the same runs give the same numbers."""
    scores = [score_of(setting) for setting in task.settings]
    kind = "evaluation" if any(score.returns["evaluation"] for score in scores) else "training"
    scores.sort(key=lambda s: -s.iqm[kind].value if kind in s.iqm else np.inf)
    charted = scores[:MAX_CHARTED]
    scored = [score for score in charted if score.returns[kind]]
    groups = [list(score.returns[kind].values()) for score in scored]
    low, high = (min(map(min, groups)), max(map(max, groups))) if groups else (0.0, 1.0)
    margin = 0.02 * (high - low) or 1.0
    thresholds = np.linspace(low - margin, high + margin, 201)
    return Analysis(
        task=task,
        kind=kind,
        scores=scores,
        charted=charted,
        scored=scored,
        curves={
            one: [curves_of(score.setting, one, task) for score in charted]
            for one in ("training", "evaluation")
        },
        thresholds=thresholds,
        profiles=[
            stats.performance_profile(group, thresholds, generator=stream(0, ROLE)) for group in groups
        ],
        pairs=pairs_of(scored, kind),
        effects=effects_of(task, scores, kind),
    )


def score_of(setting: Setting) -> Score:
    """Return the results of a setting's finished runs."""
    returns: dict[str, dict[int, float]] = {"evaluation": {}, "training": {}}
    for number, (run, seed) in sorted(setting.seeds.items()):
        if run.state == "finished":
            if number in run.final:
                returns["evaluation"][number] = run.final[number]
            if len(seed.train.returns):
                returns["training"][number] = float(seed.train.returns[-RECENT_EPISODES:].mean())
    iqm = {kind: stats.summarize(list(found.values())) for kind, found in returns.items() if found}
    known = [run.cpu_seconds for run in setting.runs if run.cpu_seconds is not None]
    return Score(setting, returns, iqm, sum(known) if known else None)


def pairs_of(scored: list[Score], kind: str) -> list[Pair]:
    """Return every pair of charted settings, the better one first."""
    pairs = []
    for better, worse in combinations(scored, 2):
        x, y = better.returns[kind], worse.returns[kind]
        shared = sorted(x.keys() & y.keys())
        difference = None
        if len(shared) > 1:
            columns = [[scores[seed] for seed in shared] for scores in (x, y)]
            difference = stats.paired_difference(*columns, generator=stream(0, ROLE))
        chance = stats.probability_of_improvement(
            list(x.values()), list(y.values()), generator=stream(0, ROLE)
        )
        if min(len(x), len(y)) < 2:
            chance = chance._replace(low=np.nan, high=np.nan)
        pairs.append(Pair(better.setting.label, worse.setting.label, chance, difference, len(shared)))
    return pairs


def effects_of(task: Task, scores: list[Score], kind: str) -> list[Effect]:
    """Return the effect of each key that differs; keys that change together are one effect.

    Keys with many values are separate, because random ones would all appear to change together.
    """
    together: dict[tuple[int | str, ...], list[str]] = defaultdict(list)
    for key, texts in task.keys.items():
        first = {text: i for i, text in reversed(list(enumerate(texts)))}
        many = len(first) > MAX_LINES
        together[(key,) if many else tuple(first[text] for text in texts)].append(key)
    returns = {id(score.setting): list(score.returns[kind].values()) for score in scores}
    effects = []
    for key, *linked in together.values():
        groups: dict[str, list[list[float]]] = defaultdict(list)
        for setting, text in zip(task.settings, task.keys[key], strict=True):
            groups[text].append(returns[id(setting)])
        ordered = sorted(groups.items(), key=lambda group: by_value(group[0]))
        rows = [(text, pooled(found), sum(map(len, found))) for text, found in ordered]
        effects.append(Effect(key, linked, rows))
    return effects


def pooled(groups: list[list[float]]) -> Estimate | None:
    """Return the interquartile mean of several settings' scores.

    Settings with equally many scores are resampled separately, others together.
    """
    groups = [group for group in groups if group]
    if not groups:
        return None
    if len({len(group) for group in groups}) == 1:
        return stats.summarize(np.array(groups).T)
    return stats.summarize([score for group in groups for score in group])


def by_value(text: str) -> tuple[bool, bool, float, str]:
    """Return a sort key: numbers by value, then other texts, then missing values."""
    value = to_number(text)
    return (text == ABSENT, np.isnan(value), np.nan_to_num(value), text)
