"""Find all problems of a configuration before any folder or file is created or changed."""

import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dqn.agent.compile_cache import obstacle
from dqn.config.build import Config, RunConfig, make_camera
from dqn.config.compose import mistakes
from dqn.config.images import image_warnings
from dqn.config.observers import make_callbacks, make_trackers
from dqn.config.parts import make
from dqn.config.preflight import TOTALS
from dqn.config.recurrence import recurrence_problems
from dqn.config.resources import disk_warning, shortages
from dqn.config.schema import WRAPPER_LISTS, check_keys, is_special
from dqn.config.wrappers import env_factory
from dqn.devices import absence, bfloat16_obstacle, find_device
from dqn.env.known import no_lives, own_class, unused_game
from dqn.env.processes import unsendable
from dqn.errors import UserError, WrongValue
from dqn.network.qnetwork import range_of, scale_of
from dqn.storage.flatten import entries
from dqn.types import EnvSpec, ObsSpec

MAKES_ENVIRONMENT = re.compile(
    r"env\.(game|id|module|kwargs|max_episode_steps|wrappers|training_wrappers|scale_bytes|frame_stack|channels|action_mask)\b"
)
"""The keys that make a single environment."""

RUNNING_STATISTICS = ("gymnasium.wrappers.NormalizeObservation", "gymnasium.wrappers.NormalizeReward")

LONG_EPISODE = 10_000
"""Steps that few episodes exceed; higher limits, such as those of Atari, only end games that never end."""

MOST_LENGTHS = 10_000
"""Most iteration lengths that are tried to find one that divides a total."""

RELATIONS: tuple[tuple[str, str, str, Callable[[float, float], bool]], ...] = (
    ("memory.capacity", "at least", "runner.batch_size", operator.ge),
    ("network.head.v_max", "above", "network.head.v_min", operator.gt),
    ("runner.learning_starts", "at most", "memory.capacity", operator.le),
    *((key, "a multiple of", "runner.iteration_length", lambda a, b: a % b == 0) for key in TOTALS),
)
"""Keys, and how their numbers must stand to those of other keys."""


class Report(NamedTuple):
    problems: list[WrongValue]
    warnings: list[str]

    def raise_if_any(self) -> None:
        """Raise all problems as one UserError."""
        if self.problems:
            raise mistakes(self.problems, "the configuration")


def check(config: Config, *, learns: bool = True, folder: Path | None = None) -> Report:
    """Return the problems of a resolved configuration, and warnings.

    Args:
        config: whole numbers written as floats (5e4) are replaced by integers in it.
        learns: check also what only training needs: the device, the compiler, the optimizer, videos.
        folder: the folder of the run; its disk should have room for a checkpoint.
    """
    problems: list[WrongValue] = []
    check_keys(config, RunConfig, "", problems)
    contradictions = Contradictions(config, problems)
    contradictions.find(learns=learns, folder=folder)
    return Report(problems, contradictions.warnings)


class Contradictions:
    """Finds values that do not fit each other, the environment or the machine."""

    def __init__(self, config: Config, problems: list[WrongValue]) -> None:
        self.config, self.problems = config, problems
        self.warnings: list[str] = []
        self.spec: EnvSpec | None = None
        self._wrong = {problem.key for problem in problems}
        self._nodes = {key: node for key, _, node in entries(config)}

    def get(self, key: str) -> Any:
        """Return the value of a key, such as env.wrappers[0]; None if it is missing or wrong by itself."""
        return None if key in self._wrong else self._nodes.get(key)

    def number(self, key: str) -> Any:
        """Return the number of a key; None if there is none."""
        value = self.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def add(self, key: str, should: str) -> None:
        self.problems.append(WrongValue(key, self.get(key), should))

    def find(self, *, learns: bool, folder: Path | None) -> None:
        checks = [self.environment, self.numbers, self.length]
        if learns:
            checks += [self.device, self.compiler, self.precision, self.optimizer, self.observers, self.video]
        for check_one in checks:
            check_one()
        if not any(key.startswith(("network.core", "memory")) for key in self._wrong):
            for key, should in recurrence_problems(self.get):
                self.add(key, should)
        if self.spec is not None and not self._wrong:
            try:
                self.warnings += image_warnings(
                    self.get("network"), env_factory(self.get("env")), self.spec.obs
                )
                for key, should in shortages(self.config, self.spec, learns=learns, folder=folder):
                    self.add(key, should)
                if learns and folder is not None and (text := disk_warning(self.config, self.spec, folder)):
                    self.warnings.append(text)
            except WrongValue as error:
                self.problems.append(error)

    def environment(self) -> None:
        if any(key == "env" or MAKES_ENVIRONMENT.match(key) for key in self._wrong):
            return
        if should := unused_game(self.get("env")):
            self.add("env.game", should)
            return
        self.arguments(self.get("env"))
        if any(problem.key.startswith("env.kwargs") for problem in self.problems):
            return
        try:
            factory = env_factory(self.get("env"))
            spec = factory.inspect()
        except WrongValue as error:
            self.add(error.key, error.should)
            return
        self.spec = spec
        if self.get("env.vectorization") == "async" and (problem := unsendable(factory)):
            self.add(
                "env.vectorization",
                f"should be sync: {factory.id} cannot be sent to another process ({problem})",
            )
        self.observations(spec.obs)
        if self.get("env.max_episode_steps") and "max_episode_steps" in self.get("env.kwargs"):
            self.add("env.max_episode_steps", "should be null where env.kwargs has max_episode_steps")
        for key in WRAPPER_LISTS:
            for i, node in enumerate(self.get(key)):
                if node["_target_"] in RUNNING_STATISTICS:
                    wrapper = f"{key}[{i}]={node['_target_']}"
                    self.warnings.append(
                        f"{wrapper}: its statistics restart in every iteration and evaluation"
                    )
        self.time_limits(spec.time_limit)
        if self.get("env.life_loss_is_terminal") and "life_lost" not in factory.first_info():
            self.add("env.life_loss_is_terminal", no_lives(factory.id))

    def arguments(self, env: Config) -> None:
        """Check env.kwargs if the environment is one of this package."""
        if (own := own_class(env["id"], env["module"])) is not None:
            made_by, from_id = own
            node = {**from_id, **env["kwargs"]}
            check_keys(node, made_by, "env.kwargs", self.problems)
            env["kwargs"] = {name: node[name] for name in env["kwargs"]}

    def time_limits(self, limit: int | None) -> None:
        """Warn of episodes that never end, or whose end a setting hides; `limit` is the environment's."""
        if self.number("agent.gamma") == 1 and self.get("env.time_limit_is_terminal") is False:
            self.warnings.append("agent.gamma=1 with env.time_limit_is_terminal=false: values are unbounded")
        if self.number("runner.total_episodes") and limit is None:
            advice = "env.max_episode_steps=N ends it after N steps"
            self.warnings.append(
                f"{self.get('env.id')} has no time limit, so an episode may never end; {advice}"
            )
        length, envs = self.number("runner.iteration_length"), self.number("env.num_envs")
        is_steps = self.number("runner.total_steps") and length and envs
        if is_steps and length // envs < min(limit or 0, LONG_EPISODE):
            self.warnings.append(
                f"runner.iteration_length={length} cuts every episode after {length // envs} steps,"
                f" before the environment's time limit of {limit}"
            )
        if is_steps and (self.number("env.frame_stack") or 1) > length // envs:
            steps = f"the {length // envs} steps of an environment in runner.iteration_length={length}"
            self.add("env.frame_stack", f"should be at most {steps}")

    def observations(self, obs: ObsSpec) -> None:
        keys = ("network.obs_low", "network.obs_high", "network.obs_scale")
        if not self._wrong.isdisjoint(keys):
            return
        low, high, scale = map(self.get, keys)
        has_range = low is not None or high is not None
        try:
            scale_of(scale, obs, has_range=has_range)
        except ValueError as error:
            self.add("network.obs_scale", str(error))
        if not has_range:
            return
        try:
            range_of(low, high, obs)
        except ValueError as error:
            self.add("network.obs_high" if low else "network.obs_low", str(error))

    def numbers(self) -> None:
        """Compare numbers with each other."""
        for key, relation, other, holds in RELATIONS:
            number, limit = self.number(key), self.number(other)
            if None not in (number, limit) and not holds(number, limit):
                instead = self.whole_iterations(key, number, limit) if key in TOTALS else ""
                self.add(key, f"should be {relation} {other}={limit}{instead}")
        length, envs = self.number("runner.iteration_length"), self.number("env.num_envs") or 1
        if self.number("runner.total_steps") and length and length % envs:
            self.add("runner.iteration_length", f"should be a multiple of env.num_envs={envs}")
        if envs > 1 and self.number("runner.total_episodes"):
            self.add("env.num_envs", "should be 1 with runner=episodes; runner=steps takes more")

    def whole_iterations(self, key: str, total: int, length: int) -> str:
        """Return the end of a sentence: the nearest total that fits, and a length that fits this one."""
        most, envs = min(total, length), self.number("env.num_envs") or 1
        shorter = range(most, max(most // 10, most - MOST_LENGTHS), -1)
        fits = next((n for n in shorter if total % n == 0 and n % envs == 0), None)
        also = f" or {key}={total} runner.iteration_length={fits}" if fits else ""
        return f"; type {key}={max(round(total / length), 1) * length}{also}"

    def length(self) -> None:
        """Warn if the run is too short for an update or does not fit the learning rate's schedule."""
        starts, period = self.number("runner.learning_starts"), self.number("runner.train_period")
        for key in TOTALS:
            total, duration = self.number(key), self.number("agent.lr_schedule.duration")
            if not total:
                continue
            least = starts if key == "runner.total_steps" else 1
            if least and period and total // period * period < least:
                keys = f"runner.train_period={period} and runner.learning_starts={starts}"
                self.warnings.append(f"{key}={total} is too small for any update with {keys}")
            schedule = f"agent.lr_schedule.duration={duration} differs from {key}={total}: the learning rate"
            if duration and duration < total and self.number("agent.lr_schedule.end") == 0:
                self.warnings.append(
                    f"{schedule} is 0 after tick {duration}, and nothing is learned from then on"
                )
            if duration and duration > total:
                self.warnings.append(f"{schedule} does not reach agent.lr_schedule.end")
            falls, end = self.number("schedule.duration"), self.number("schedule.end")
            delay = self.number("schedule.delay") or 0
            if falls and delay + falls > total and end not in (None, self.number("schedule.start")):
                late = f" after schedule.delay={delay}" if delay else ""
                self.warnings.append(
                    f"schedule.duration={falls}{late} is longer than {key}={total}: epsilon does not reach"
                    f" schedule.end={end}"
                )

    def device(self) -> None:
        if (device := self.get("device")) and (should := absence(device)):
            self.add("device", should)

    def compiler(self) -> None:
        name = self.get("device")
        if self.get("agent.compile") is not True or name is None or absence(name):
            return
        if problem := obstacle(find_device(name)):
            self.add("agent.compile", f"should be false or auto: {problem}")

    def precision(self) -> None:
        name = self.get("device")
        if self.get("agent.precision") != "bfloat16" or name is None or absence(name):
            return
        device = find_device(name)
        if problem := bfloat16_obstacle(device):
            self.add("agent.precision", f"should be float32: {problem}")
        elif device.type == "cpu":
            slow = "bfloat16 takes several times as long as float32 on most CPUs; it is made for GPUs"
            self.warnings.append(f"agent.precision=bfloat16: {slow}")

    def optimizer(self) -> None:
        """Make an optimizer: only its own code knows which numbers it accepts."""
        node, lr = self.get("agent.optimizer"), self.number("agent.lr") or 1.0
        if not isinstance(node, dict) or any(key.startswith("agent.optimizer") for key in self._wrong):
            return
        try:
            make(node)([torch.zeros(1, requires_grad=True)], lr=lr)
        except Exception as error:
            values = {key: value for key, value in node.items() if not is_special(key)}
            self.problems.append(WrongValue("agent.optimizer", values, f"cannot be created ({error})"))

    def observers(self) -> None:
        """Make callbacks and trackers: only their own code knows which values it accepts."""
        for key, make_all in (("callbacks", make_callbacks), ("tracker", make_trackers)):
            if any(wrong.startswith(key) for wrong in self._wrong):
                continue
            try:
                make_all(self.get(key))
            except WrongValue as error:
                self.problems.append(error)

    def video(self) -> None:
        """Draw a frame if videos are wanted, rather than fail after hours of training."""
        if not self.number("runner.video_period") or not isinstance(self.get("env.id"), str) or self.problems:
            return
        try:
            make_camera(self.config).check()
        except UserError as error:
            self.add("runner.video_period", f"should be 0: {error}")
