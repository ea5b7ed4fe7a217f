"""Call the hooks of all callbacks of a run; an error in one names the callback, the hook and the line."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from dqn.env.guard import from_signal_handler
from dqn.env.spec import numbers_of
from dqn.errors import UserError, failure, one_line
from dqn.runner.callbacks import Callback, Training
from dqn.types import Episode, Floats, Update

if TYPE_CHECKING:
    from dqn.runner.runner import Runner

State = dict[str, Any]


class Callbacks:
    """Calls the hooks of all callbacks; an exception in one raises UserError, which names it.

    Args:
        configured: those of the key `callbacks`, whose states are in the checkpoint.
        given: callbacks given in code, by the name that errors call them; they have no state.
    """

    def __init__(self, configured: Sequence[Callback], given: Mapping[str, Callback]) -> None:
        names = [f"callbacks[{i}] ({class_of(one)})" for i, one in enumerate(configured)]
        self.configured = dict(zip(names, configured, strict=True))
        self._all = self.configured | dict(given)
        self.of_updates = {name: one for name, one in self._all.items() if one.update_period}
        self._started: dict[str, Callback] = {}
        self._run: Training
        """Set by `bind`, before any call."""

    def bind(self, runner: "Runner") -> None:
        """Set the run that the callbacks see."""
        self._run = Training(runner)

    @property
    def need_infos(self) -> bool:
        return any(type(one).on_episode is not Callback.on_episode for one in self._all.values())

    def start(self) -> None:
        for name, one in self._all.items():
            self._started[name] = one
            self._call(name, one.on_start, self._run)

    def episode(self, episode: Episode, info: Mapping[str, Any]) -> None:
        self._run._episode = episode
        self._call_all("on_episode", episode, info)
        self._run._episode = None

    def update(self, update: Update) -> None:
        for name, one in self.of_updates.items():
            if self._run.updates % one.update_period == 0:
                self._call(name, one.on_update, self._run, update)

    def evaluation(self, returns: Floats) -> None:
        self._call_all("on_evaluation", returns)

    def iteration(self) -> None:
        self._call_all("on_iteration")

    def checkpoint(self) -> None:
        self._call_all("on_checkpoint")

    def end(self, result: float | None) -> None:
        """Call `on_end` of all callbacks that started, once each."""
        while self._started:
            name = next(iter(self._started))
            self._call(name, self._started.pop(name).on_end, self._run, result)

    def _call_all(self, hook: str, *arguments: Any) -> None:
        for name, one in self._all.items():
            self._call(name, getattr(one, hook), self._run, *arguments)

    def _call(self, name: str, hook: Any, *arguments: Any) -> Any:
        self._run._hook = hook.__name__
        try:
            return hook(*arguments)
        except (Exception, SystemExit) as error:
            if from_signal_handler(error):
                raise
            raise failure(f"{name} failed in {hook.__name__}", error) from None
        finally:
            self._run._hook = ""

    def state_dict(self) -> list[State]:
        return [
            plain(self._call(name, one.state_dict), f"{name} failed in state_dict")
            for name, one in self.configured.items()
        ]

    def load_state_dict(self, states: list[State]) -> None:
        for (name, one), state in zip(self.configured.items(), states, strict=True):
            self._call(name, one.load_state_dict, state)


def class_of(callback: Callback) -> str:
    return f"{type(callback).__module__}.{type(callback).__qualname__}"


def plain(state: Any, text: str, path: str = "state") -> Any:
    """Return a state of Python's own numbers and texts; raise UserError if a checkpoint cannot hold it."""
    if isinstance(state, np.generic):
        return state.item()
    if isinstance(state, dict) and all(isinstance(key, str | int) for key in state):
        return {key: plain(value, text, f"{path}[{key!r}]") for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [plain(value, text, f"{path}[{i}]") for i, value in enumerate(state)]
    if isinstance(state, str):
        return str.__str__(state)  # a checkpoint holds no class of the user's, such as an enumeration
    if isinstance(state, int | float) and type(state) is not bool:
        return int(state) if isinstance(state, int) else float(state)
    if state is None or isinstance(state, bool | Tensor) or numbers_of(state) is not None:
        return state
    allowed = "dicts with text as keys, lists, numbers, texts, arrays or tensors"
    raise UserError(f"{text}: {one_line(path)} is a {type(state).__name__}; should be {allowed}")
