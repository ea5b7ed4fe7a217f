"""All checks of a configuration, one after the other."""

from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Literal, NamedTuple

from dqn.conformance import callbacks, distribution, environment, learner, learning, memory, network, runs
from dqn.conformance.assertions import Failure, NotApplicable
from dqn.conformance.candidate import Candidate
from dqn.errors import EnvFailed, cause_of
from dqn.process import configure_process, float32_by_default, preserve_settings


class Check(NamedTuple):
    """A check of one part, or of all parts together."""

    name: str
    key: str
    """Key of the part in the configuration, empty for all parts together."""
    run: Callable[[Candidate], str | None]
    """Raises Failure or NotApplicable, or returns a detail of the success."""
    after: tuple[str, ...] = ()
    """Checks that must not have failed, because this one would only repeat their failure."""


SCHEDULES = ("schedule", "agent.lr_schedule", "memory.sampler.beta")
LAYERS = ("network.layer", "network.torso", "network.streams", "network.head")
NETWORK = (*LAYERS, "network.core", "network")
LOSS = (*NETWORK, "distribution")
PARTS = (
    Check("network.layer", "network.layer", network.layer),
    Check("network.torso", "network.torso", network.torso, LAYERS[:1]),
    Check("network.streams", "network.streams", network.streams, LAYERS[:2]),
    Check("network.head", "network.head", network.head, LAYERS[:3]),
    Check("network.core", "network.core", network.core),
    Check("network", "network", network.network, NETWORK[:-1]),
    Check("acting", "network", network.acting, NETWORK),
    Check("distribution", "network.head", distribution.distribution, NETWORK),
    Check("agent.backup", "agent.backup", learner.backup, LOSS),
    Check("agent.optimizer", "agent.optimizer", learner.optimizer),
    *(Check(key, key, partial(learner.schedule, key=key)) for key in SCHEDULES),
    Check("gradient", "agent", learner.gradient, (*LOSS, "agent.backup", *SCHEDULES)),
    Check("memory.reader", "memory.reader", memory.reader),
    Check("memory.sampler", "memory.sampler", memory.sampler, ("memory.sampler.beta",)),
    Check("memory", "memory", memory.memory, ("memory.sampler.beta", "memory.reader", "memory.sampler")),
    Check("env", "env", environment.environment),
    Check("callbacks", "callbacks", callbacks.callbacks),
)
ALL_PARTS = tuple(check.name for check in PARTS)
WHOLE = (
    Check("resume", "", runs.resume, ALL_PARTS),
    Check("seed alone", "", runs.seed_alone, ALL_PARTS),
    Check("learning", "", learning.learning, ALL_PARTS),
)


class Finding(NamedTuple):
    """The result of one check."""

    name: str
    part: str
    """Class or function of the part, empty for all parts together."""
    state: Literal["ok", "FAILED", "skipped"]
    detail: str

    def __str__(self) -> str:
        return f"{self.state:<8}{self.name:<21}{': '.join(filter(None, (self.part, self.detail)))}"


def examine(candidate: Candidate, names: Collection[str] = ()) -> Iterator[Finding]:
    """Yield the results of the checks of each part, then of all parts together; `names` selects some."""
    failed: set[str] = set()
    with preserve_settings():
        configure_process(1)
        for check in (*PARTS, *WHOLE):
            if (check.key and not candidate.target(check.key)) or (names and check.name not in names):
                continue
            finding = examine_one(candidate, check, failed)
            if finding.state == "FAILED":
                failed.add(check.name)
            yield finding


def examine_one(candidate: Candidate, check: Check, failed: set[str]) -> Finding:
    """Return the result of one check, skipped if one that it relies on has failed."""
    finding = partial(Finding, check.name, candidate.target(check.key))
    if causes := [name for name in check.after if name in failed]:
        return finding("skipped", f"fix {', '.join(causes)} first")
    steps_environment = check.key in ("env", "")  # which may rely on another default
    try:
        with nullcontext() if steps_environment else float32_by_default():
            return finding("ok", check.run(candidate) or "")
    except NotApplicable as reason:
        return finding("skipped", str(reason))
    except (Failure, EnvFailed) as failure:
        return finding("FAILED", str(failure))
    except Exception as error:  # a custom part may raise anything
        return finding("FAILED", cause_of(error))
