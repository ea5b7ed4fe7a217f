"""Everything that can be wrong with a configuration, found before anything is made or changed.

The annotated signature of what a `_target_` names is the schema of its keys, so a user's own part is checked
like the built-in ones.
"""

import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from hydra.utils import get_object
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from dqn.config.build import RUN_TIME, Config, experiment
from dqn.env import inspect as inspect_env
from dqn.errors import UserError

HYDRA_KEYS = {"_target_", "_partial_"}
GROUPS = ("env", "network", "memory", "schedule", "runner", "agent")


class Problem(NamedTuple):
    key: str
    value: Any
    should: str

    def __str__(self) -> str:
        return f"{self.key}={shown(self.value)}: {self.should}"


class Report(NamedTuple):
    problems: list[Problem]
    warnings: list[str]

    def raise_if_any(self) -> None:
        """Raise all problems as one UserError."""
        if self.problems:
            count = f"{len(self.problems)} mistake{'s' * (len(self.problems) > 1)} in the configuration"
            raise UserError("\n  ".join([f"{count}:", *map(str, self.problems)]))


def check(config: Config) -> Report:
    """Return what is wrong with a resolved configuration and what deserves a warning.

    Whole numbers written as floats (5e4) are replaced by integers in `config`.
    """
    problems: list[Problem] = []
    check_node(config, experiment, "", problems)
    warnings: list[str] = []
    Contradictions(config, problems, warnings).find()
    return Report(problems, warnings)


def check_node(node: Config, target: Callable[..., Any], path: str, problems: list[Problem]) -> None:
    """Check the keys of `node` against the signature of `target`, and those of the nodes below it."""
    parameters = inspect.signature(target).parameters
    hints = type_hints(target)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, value in node.items():
        key = f"{path}{name}"
        if name in HYDRA_KEYS:
            continue
        if name not in parameters and not open_ended:
            problems.append(
                Problem(key, value, f"no such key; {path.rstrip('.') or 'there'} {known(parameters)}")
            )
        elif isinstance(value, dict) and "_target_" in value:
            check_target(value, f"{key}.", problems)
        elif path == "" and name in GROUPS:
            problems.append(Problem(key, value, f"should be chosen by {name}=OPTION"))
        else:
            node[name] = check_value(key, value, hints.get(name, Any), problems)
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind is parameter.KEYWORD_ONLY
        if required and name not in node and name not in RUN_TIME | {"folder"}:
            problems.append(Problem(f"{path}{name}", None, "missing"))


def check_target(node: Config, path: str, problems: list[Problem]) -> None:
    try:
        target = get_object(node["_target_"])
        inspect.signature(target)
    except Exception as error:
        reason = f"should name a class or a function ({str(error).splitlines()[0]})"
        problems.append(Problem(f"{path}_target_", node["_target_"], reason))
    else:
        check_node(node, target, path, problems)


def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable's parameters, with their value types."""
    of = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(of, include_extras=True)
    except (NameError, TypeError):
        return {}


def check_value(key: str, value: Any, hint: Any, problems: list[Problem]) -> Any:
    """Return `value` as `hint` wants it, or report what it should be."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return value
    try:
        converted = adapter.validate_python(value)
    except ValidationError as error:
        should = {one["msg"].replace("Input should be", "should be") for one in error.errors()}
        problems.append(Problem(key, value, " or ".join(sorted(should))))
        return value
    if not same_kind(value, converted):
        problems.append(Problem(key, value, f"should be {kind(converted)}, not {kind(value)}"))
        return value
    return value if isinstance(value, list) else converted


def same_kind(before: Any, after: Any) -> bool:
    """Return whether a conversion kept text as text and truth values as such."""
    if isinstance(before, list) and isinstance(after, list | tuple):
        return all(map(same_kind, before, after))
    return isinstance(before, str) == isinstance(after, str) and isinstance(before, bool) == isinstance(
        after, bool
    )


def kind(value: Any) -> str:
    return {"bool": "true or false", "str": "text", "int": "a whole number", "float": "a number"}.get(
        type(value).__name__, type(value).__name__
    )


def known(parameters: Any) -> str:
    names = [name for name in parameters if name not in RUN_TIME | {"folder"}]
    return f"has {', '.join(names)}" if names else "has no keys"


def shown(value: Any) -> str:
    """Return a value as it is written on the command line."""
    plain = {True: "true", False: "false", None: "null"}
    return plain[value] if value is None or isinstance(value, bool) else str(value)


class Contradictions:
    """What single values do not show: keys that do not fit each other, the environment or the machine."""

    def __init__(self, config: Config, problems: list[Problem], warnings: list[str]) -> None:
        self.config, self.problems, self.warnings = config, problems, warnings
        self._wrong = {problem.key for problem in problems}

    def get(self, key: str) -> Any:
        """Return a value, None where it is missing or already known to be wrong."""
        node: Any = self.config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        return None if key in self._wrong else node

    def add(self, key: str, should: str) -> None:
        self.problems.append(Problem(key, self.get(key), should))

    def find(self) -> None:
        self.environment()
        self.memory()
        self.clock()
        if self.get("device") == "cuda" and not torch.cuda.is_available():
            self.add("device", "should be auto or cpu: no CUDA device is usable here")

    def environment(self) -> None:
        id, module, kwargs = (self.get(f"env.{key}") for key in ("id", "module", "kwargs"))
        if id is None or kwargs is None or "env.module" in self._wrong:
            return
        try:
            spec, _ = inspect_env(id=id, module=module, kwargs=kwargs)
        except UserError as error:
            key, _, rest = str(error).partition("=")
            self.problems.append(Problem(key, self.get(key), rest.partition(": ")[2]))
            return
        if self.get("agent.gamma") == 1 and self.get("env.time_limit_is_terminal") is False:
            self.warnings.append("agent.gamma=1 with env.time_limit_is_terminal=false: values have no bound")
        length, envs = self.get("runner.iteration_length"), self.get("env.num_envs")
        if (
            self.get("runner.total_steps")
            and length
            and envs
            and spec.time_limit
            and length // envs < spec.time_limit
        ):
            self.warnings.append(
                f"runner.iteration_length={length} cuts every episode after {length // envs} steps of its"
                f" environment, fewer than the {spec.time_limit} of its time limit"
            )

    def memory(self) -> None:
        capacity, batch = self.get("memory.capacity"), self.get("runner.batch_size")
        starts, n_step = self.get("runner.learning_starts"), self.get("memory.reader.n_step")
        envs = self.get("env.num_envs") or 1
        if capacity is None:
            return
        if batch and batch > capacity:
            self.add("memory.capacity", f"should be at least runner.batch_size={batch}")
        if starts and starts > capacity:
            self.add("runner.learning_starts", f"should be at most memory.capacity={capacity}")
        if n_step and capacity // envs < n_step + 2:
            least = f"(memory.reader.n_step={n_step} + 2) * env.num_envs={envs}"
            self.add("memory.capacity", f"should be at least {least}")

    def clock(self) -> None:
        length, envs = self.get("runner.iteration_length"), self.get("env.num_envs")
        for key in ("runner.total_steps", "runner.total_episodes"):
            total = self.get(key)
            if total and length and total % length:
                self.add(key, f"should be a multiple of runner.iteration_length={length}")
        if envs and self.get("runner.total_steps") and length and length % envs:
            self.add("runner.iteration_length", f"should be a multiple of env.num_envs={envs}")
        if envs and envs > 1 and self.get("runner.total_episodes"):
            self.add("env.num_envs", "should be 1 with runner=episodes; runner=steps takes more")
