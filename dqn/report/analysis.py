"""The numbers of a report: scores, curves, pairs and effects of one task, with intervals."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dqn.report.curves import MAX_RESAMPLES, Curve, curves_of, longest_curve
from dqn.report.settings import ABSENT, Setting, Task
from dqn.seeding import stream
from dqn.stats import (
    Band,
    Estimate,
    estimate,
    paired_difference,
    performance_profile,
    probability_of_improvement,
)
from dqn.storage.metrics import RECENT_EPISODES
from dqn.types import Floats

MAX_CHARTED = 8
"""Settings in a chart: more colours cannot be distinguished."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a setting reached."""

    setting: Setting
    evaluation: dict[int, float]
    """Of each seed that has finished."""
    training: dict[int, float]
    by: dict[str, Estimate]
    """The interquartile means by "evaluation" and "training"; without an interval of fewer than two seeds."""
    cpu_seconds: float | None

    def of(self, kind: str) -> dict[int, float]:
        return self.evaluation if kind == "evaluation" else self.training


class Pair(NamedTuple):
    """Two settings compared."""

    better: str
    worse: str
    probability: Estimate
    difference: Estimate | None
    """On the seeds that both have; None of fewer than two."""
    num_pairs: int


class Effect(NamedTuple):
    """What becomes of the scores by the value of one key, whatever the others are."""

    key: str
    linked: list[str]
    """Keys that change with it, so their effects cannot be separated."""
    values: list[str]
    estimates: list[Estimate | None]
    sizes: list[int]
    """Scores at each value."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All numbers of a task."""

    task: Task
    kind: str
    """What the main scores are: "evaluation", or "training" where there is no evaluation."""
    scores: list[Score]
    """By the main score, best first; those without any last."""
    curves: dict[str, list[list[Curve]]]
    """By kind, of each of the charted settings."""
    thresholds: Floats
    profiles: list[Band]
    pairs: list[Pair]
    effects: list[Effect]

    @property
    def charted(self) -> list[Score]:
        return self.scores[:MAX_CHARTED]

    @property
    def scored(self) -> list[Score]:
        """Return those of the charted that have a main score."""
        return [score for score in self.charted if score.of(self.kind)]


def analyse(task: Task) -> Analysis:
    """Return the numbers of a task; the same runs give the same numbers."""
    rng = stream(0, "report")
    scores = [score_of(setting, rng) for setting in task.settings]
    kind = "evaluation" if any(score.evaluation for score in scores) else "training"
    scores.sort(key=lambda s: -s.by[kind].value if kind in s.by else np.inf)
    charted = scores[:MAX_CHARTED]
    scored = [score for score in charted if score.of(kind)]
    everything = [x for score in scored for x in score.of(kind).values()]
    low, high = (min(everything), max(everything)) if everything else (0.0, 1.0)
    margin = 0.02 * (high - low) or 1.0
    thresholds = np.linspace(low - margin, high + margin, 201)
    values = [list(score.of(kind).values()) for score in scored]
    return Analysis(
        task=task,
        kind=kind,
        scores=scores,
        curves={
            one: [
                curves_of(score.setting, one, unit=task.unit, last=longest_curve(task), rng=rng)
                for score in charted
            ]
            for one in ("training", "evaluation")
        },
        thresholds=thresholds,
        profiles=[
            performance_profile(one, thresholds, generator=rng, resamples=MAX_RESAMPLES) for one in values
        ],
        pairs=pairs_of(scored, kind, rng),
        effects=effects_of(task, scores, kind, rng),
    )


def score_of(setting: Setting, rng: np.random.Generator) -> Score:
    """Return what the finished runs of a setting reached."""
    evaluation, training = {}, {}
    for number, (run, seed) in sorted(setting.seeds.items()):
        if run.state == "finished":
            if number in run.final:
                evaluation[number] = run.final[number]
            if len(seed.train.returns):
                training[number] = float(seed.train.returns[-RECENT_EPISODES:].mean())
    by = {}
    for kind, found in (("evaluation", evaluation), ("training", training)):
        if found:
            by[kind] = with_interval(list(found.values()), rng)
    known = [run.cpu_seconds for run in setting.runs if run.cpu_seconds is not None]
    return Score(
        setting=setting,
        evaluation=evaluation,
        training=training,
        by=by,
        cpu_seconds=sum(known) if known else None,
    )


def with_interval(scores: Sequence[float] | Floats, rng: np.random.Generator) -> Estimate:
    """Return the interquartile mean; its interval is unknown (NaN) where only one seed has a score."""
    found = estimate(scores, generator=rng, resamples=MAX_RESAMPLES)
    return found if len(scores) > 1 else Estimate(found.value, np.nan, np.nan)


def pairs_of(scored: list[Score], kind: str, rng: np.random.Generator) -> list[Pair]:
    """Return each of the charted settings beside each that scored less."""
    pairs = []
    for i, better in enumerate(scored):
        for worse in scored[i + 1 :]:
            x, y = better.of(kind), worse.of(kind)
            shared = sorted(x.keys() & y.keys())
            difference = None
            if len(shared) > 1:
                columns = [[scores[seed] for seed in shared] for scores in (x, y)]
                difference = paired_difference(*columns, generator=rng, resamples=MAX_RESAMPLES)
            chance = probability_of_improvement(
                list(x.values()), list(y.values()), generator=rng, resamples=MAX_RESAMPLES
            )
            if min(len(x), len(y)) < 2:
                chance = Estimate(chance.value, np.nan, np.nan)
            names = (better.setting.label, worse.setting.label)
            pairs.append(Pair(*names, chance, difference, len(shared)))
    return pairs


def effects_of(task: Task, scores: list[Score], kind: str, rng: np.random.Generator) -> list[Effect]:
    """Return the effect of each key that differs; keys that change together are one."""
    together: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for key, texts in task.varying.items():
        first = {text: i for i, text in reversed(list(enumerate(texts)))}
        together[tuple(first[text] for text in texts)].append(key)
    found = {id(score.setting): score for score in scores}
    effects = []
    for key, *linked in together.values():
        groups: dict[str, list[list[float]]] = defaultdict(list)
        for setting, text in zip(task.settings, task.varying[key], strict=True):
            groups[text].append(list(found[id(setting)].of(kind).values()))
        values = sorted(groups, key=by_value)
        estimates = [pooled([one for one in groups[text] if one], rng) for text in values]
        sizes = [sum(map(len, groups[text])) for text in values]
        effects.append(Effect(key, linked, values, estimates, sizes))
    return effects


def pooled(groups: list[list[float]], rng: np.random.Generator) -> Estimate | None:
    """Return the interquartile mean of several settings' scores; equally many of each are resampled apart."""
    if not groups:
        return None
    if len({len(group) for group in groups}) == 1:
        return with_interval(np.array(groups).T, rng)
    return with_interval([score for group in groups for score in group], rng)


def by_value(text: str) -> tuple[int, float, str]:
    """Order numbers by value, then words, then what is missing."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (2 if text == ABSENT else 1, 0.0, text)
