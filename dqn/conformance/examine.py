"""All checks of a configuration, one after the other."""

import traceback
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from dqn.conformance import distribution, environment, learner, learning, memory, network, runs
from dqn.conformance.assertions import Failure, NotApplicable
from dqn.conformance.candidate import Candidate
from dqn.process import configure_process, kept

SCHEDULES = ("schedule", "agent.lr_schedule", "memory.sampler.beta")


class Check(NamedTuple):
    name: str
    place: str
    """Of the part, where there is one in the configuration."""
    run: Callable[[Candidate], str | None]
    """Returns what it has to tell of what is right."""
    after: tuple[str, ...] = ()
    """Checks without which this one says nothing new."""


NETWORK = ("network.layer", "network.torso", "network.head")
PARTS = (
    Check("network.layer", "network.layer", network.layer),
    Check("network.torso", "network.torso", network.torso, NETWORK[:1]),
    Check("network.head", "network.head", network.head, NETWORK[:2]),
    Check("network", "network", network.network, NETWORK),
    Check("acting", "network", network.acting, (*NETWORK, "network")),
    Check("distribution", "network.head", distribution.distribution, (*NETWORK, "network")),
    Check("agent.backup", "agent.backup", learner.backup, (*NETWORK, "network", "distribution")),
    Check("agent.optimizer", "agent.optimizer", learner.optimizer),
    *(Check(place, place, partial(learner.schedule, place=place)) for place in SCHEDULES),
    Check(
        "gradient",
        "agent",
        learner.gradient,
        (*NETWORK, "network", "distribution", "agent.backup", *SCHEDULES),
    ),
    Check("memory.reader", "memory.reader", memory.reader),
    Check("memory.sampler", "memory.sampler", memory.sampler, ("memory.sampler.beta",)),
    Check("memory", "memory", memory.memory, ("memory.sampler.beta", "memory.reader", "memory.sampler")),
    Check("env", "env", environment.environment),
)
WHOLE = tuple(
    Check(name, "", run, tuple(check.name for check in PARTS))
    for name, run in (("resume", runs.repeated), ("seed alone", runs.alone), ("learning", learning.learning))
)
CHECKS = (*PARTS, *WHOLE)


class Finding(NamedTuple):
    """What one check says."""

    name: str
    part: str
    """The class or function that was tried, empty if it is everything."""
    state: Literal["ok", "FAILED", "skipped"]
    detail: str

    def __str__(self) -> str:
        return f"{self.state:<8}{self.name:<21}{': '.join(filter(None, (self.part, self.detail)))}"


def examine(candidate: Candidate, names: Collection[str] = ()) -> Iterator[Finding]:
    """Try a configuration's parts and then everything together; yield what each check finds.

    Args:
        candidate: the configuration, which was checked.
        names: of the checks; none: all.
    """
    failed: set[str] = set()
    with kept():
        configure_process(1)
        for check in CHECKS:
            if (check.place and not candidate.target(check.place)) or (names and check.name not in names):
                continue
            finding = examine_one(candidate, check, failed)
            if finding.state == "FAILED":
                failed.add(check.name)
            yield finding


def examine_one(candidate: Candidate, check: Check, failed: set[str]) -> Finding:
    part = candidate.target(check.place) if check.place else ""
    if before := [name for name in check.after if name in failed]:
        return Finding(check.name, part, "skipped", f"first mend {', '.join(before)}")
    try:
        return Finding(check.name, part, "ok", check.run(candidate) or "")
    except NotApplicable as reason:
        return Finding(check.name, part, "skipped", str(reason))
    except Failure as failure:
        return Finding(check.name, part, "FAILED", str(failure))
    except Exception as error:  # a user's part may raise anything
        return Finding(check.name, part, "FAILED", f"{type(error).__name__}: {error} ({origin(error)})")


def origin(error: Exception) -> str:
    """Return where an error was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
