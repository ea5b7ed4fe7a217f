"""What a reader of the report must know before its numbers."""

from collections import Counter
from collections.abc import Iterator, Sequence

from dqn.report.analysis import MAX_CHARTED, Analysis
from dqn.report.read import RunRecord
from dqn.report.settings import Setting
from dqn.report.tables import seeds_text

LISTED = 20
"""Runs with something unreadable that are listed by name."""
FEW = 5
"""Seeds below which percentile intervals are clearly too short."""


def notes(
    analyses: Sequence[Analysis], runs: Sequence[RunRecord], unreadable: Sequence[str]
) -> Iterator[str]:
    """Yield what limits the report."""
    states = Counter(run.state for run in runs)
    open_runs = {state: number for state, number in sorted(states.items()) if state != "finished"}
    if open_runs:
        by_state = ", ".join(f"{number} {state}" for state, number in open_runs.items())
        yield (
            f"{len(runs) - states['finished']} of {len(runs)} runs have not finished ({by_state}): they are"
            " in the learning curves as far as they got and in no score. Scores of the others alone can be"
            " biased."
        )
    for analysis in analyses:
        prefix = f"{analysis.task.name}: " if len(analyses) > 1 else ""
        for text in task_notes(analysis):
            yield prefix + text
    if len({tuple(sorted(run.versions().items())) for run in runs}) > 1:
        yield "The runs were made with different versions or on different machines: see Versions."
    yield from listed(unreadable, "folders could not be read and are left out")
    yield from listed(
        [f"{run.path}: {note}" for run in runs for note in run.notes], "runs are incomplete or damaged"
    )


def listed(texts: Sequence[str], what: str) -> Iterator[str]:
    if texts:
        more = f"; and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
        yield f"{len(texts)} {what}: {'; '.join(texts[:LISTED])}{more}"


def task_notes(analysis: Analysis) -> Iterator[str]:
    """Yield what limits the numbers of one task."""
    scores = analysis.scores
    missing = sum(not score.of(analysis.kind) for score in scores)
    if analysis.kind == "training":
        yield "No run has a final evaluation: scores are training returns, of the policy as it explored."
    if missing:
        yield f"{missing} of {len(scores)} settings have no final {analysis.kind} return yet."
    yield from seed_notes([score.setting for score in scores])
    sizes = [len(score.of(analysis.kind)) for score in scores if score.of(analysis.kind)]
    if sizes and min(sizes) < FEW:
        yield (
            f"Some settings have fewer than {FEW} seeds with a score: their intervals are too short, and of"
            " one seed there is none."
        )
    ends = {max(seed.end for _, seed in s.setting.seeds.values()) for s in scores if s.setting.seeds}
    lengths = sorted({int(end[analysis.task.unit == "episode"]) for end in ends})
    if len(lengths) > 1:
        yield (
            f"The settings' runs have different lengths, {lengths[0]:,} to {lengths[-1]:,}"
            f" {analysis.task.unit}s: scores are those at each run's own end."
        )
    if len(scores) > MAX_CHARTED:
        yield f"The charts show the {MAX_CHARTED} best of {len(scores)} settings; the tables have all."
    if len(scores) > 2:
        yield "The best of several settings is selected, so its score is biased upwards: try it on new seeds."


def seed_notes(settings: Sequence[Setting]) -> Iterator[str]:
    """Yield how the settings' seeds differ, and which were there twice."""
    seeds = Counter(seeds_text(list(setting.seeds)) for setting in settings)
    if len(seeds) > 1:
        most = ", ".join(f"{number} settings have the seeds {text}" for text, number in seeds.most_common(5))
        yield f"The settings have different seeds: {most}."
    repeated = [text for setting in settings for text in setting.repeated]
    yield from listed(
        repeated, "seeds of a setting were there already, so the same runs again, and are left out"
    )
