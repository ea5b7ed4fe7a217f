"""The caveats that a reader of the report must know before its numbers."""

from collections import Counter
from collections.abc import Iterator, Sequence

from dqn.errors import counted, one_line
from dqn.report.analysis import MAX_CHARTED, Analysis
from dqn.report.read import RunRecord
from dqn.report.settings import Setting
from dqn.report.tables import seeds_text

LISTED = 20
"""Runs or folders listed by name in one caveat."""
FEW = 5
"""Seeds; with fewer, percentile intervals are clearly too short."""


def notes(
    analyses: Sequence[Analysis], runs: Sequence[RunRecord], unreadable: Sequence[str]
) -> Iterator[str]:
    """Yield the caveats of the whole report, then those of each task."""
    states = Counter(run.state for run in runs)
    finished = states.pop("finished", 0)
    if states:
        by_state = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        if len(runs) == 1:
            yield f"The run has not finished ({runs[0].state}): its learning curve is there as far as it got."
        else:
            yield (
                f"{len(runs) - finished} of {len(runs)} runs have not finished ({by_state}): the learning"
                " curves include them as far as they got, the scores exclude them. Scores of the finished"
                " runs alone can be biased."
            )
    for analysis in analyses:
        prefix = f"{analysis.task.name}: " if len(analyses) > 1 else ""
        for text in task_notes(analysis):
            yield prefix + text
    if len({tuple(sorted(run.versions.items())) for run in runs}) > 1:
        yield "The runs were made with different versions or on different machines: see Versions."
    ignoring = [run for run in runs if run.status.get("reproducible") is False]
    reasons = [f"{run.path} ({one_line(run.status.get('irreproducible_because'))})" for run in ignoring]
    yield from listed(reasons, "Runs that cannot be repeated, because their environment ignores its seed")
    yield from listed(unreadable, "Folders left out because they cannot be read")
    damaged = [f"{run.path}: {note}" for run in runs for note in run.notes]
    yield from listed(damaged, "Incomplete or damaged files")


def listed(texts: Sequence[str], problem: str) -> Iterator[str]:
    """Yield a caveat that lists the first texts, unless there are none."""
    if texts:
        more = f"; and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
        yield f"{problem} ({len(texts)}): {'; '.join(texts[:LISTED])}{more}"


def task_notes(analysis: Analysis) -> Iterator[str]:
    """Yield the caveats of one task."""
    scores = analysis.scores
    sizes = Counter(len(score.returns[analysis.kind]) for score in scores)
    if analysis.kind == "training":
        yield "No run has a final evaluation: scores are training returns, of the exploring policy."
    if missing := sizes.pop(0, 0):
        those = f"{missing} of {len(scores)} settings have" if len(scores) > 1 else "The setting has"
        yield f"{those} no final {analysis.kind} return yet."
    yield from seed_notes([score.setting for score in scores])
    if sizes and min(sizes) < FEW:
        yield (
            f"Some settings have fewer than {FEW} seeds with a score: their intervals are too short, and a"
            " single seed has none."
        )
    ends = {max(seed.end for _, seed in s.setting.seeds.values()) for s in scores if s.setting.seeds}
    lengths = sorted({int(end[analysis.task.unit == "episode"]) for end in ends})
    if len(lengths) > 1:
        yield (
            f"The settings' runs have different lengths, {lengths[0]:,} to {lengths[-1]:,}"
            f" {analysis.task.unit}s: scores are taken at the end of each run."
        )
    if unswept := list(analysis.task.unswept) if analysis.task.swept else []:
        names = ", ".join(unswept[:LISTED]) + (" and others" if len(unswept) > LISTED else "")
        yield (
            f"Besides what was swept, the settings differ in {counted(len(unswept), 'key')} ({names}): not"
            " every difference between them is an effect of the swept keys."
        )
    if len(scores) > MAX_CHARTED:
        yield f"The charts show the {MAX_CHARTED} best of {len(scores)} settings; the tables have all."
    if len(scores) > 2:
        yield "The best of several settings is selected, so its score is biased: test it on new seeds."


def seed_notes(settings: Sequence[Setting]) -> Iterator[str]:
    """Yield how the settings' seeds differ, and which seeds several runs have."""
    seeds = Counter(seeds_text(list(setting.seeds)) for setting in settings)
    if len(seeds) > 1:
        most = "; ".join(f"{text} in {counted(number, 'setting')}" for text, number in seeds.most_common(5))
        yield f"The settings have different seeds: {most}."
    repeated = [text for setting in settings for text in setting.repeated]
    yield from listed(repeated, "Seeds left out because another run of the same setting has them")
