"""Environments in one process each; none of these processes outlives the one that started it."""

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from ctypes import c_byte
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper

from dqn.env.make import Env, life_lost
from dqn.env.masks import MASK
from dqn.errors import EnvFailed, UserError, exit_reason, one_line, printable
from dqn.system import kill_group, lead_group
from dqn.types import Array, Bools, EnvSpec, Floats, Integers

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""Seconds that an environment gets to finish its step and to close before its process is killed."""
LOOK_SECONDS = 1.0
"""Seconds between two looks at whether a process, or that which started it, is still there."""

Request = tuple[str, int | None]
"""A reset with its seed, or a step with its action."""


class AsyncColumns:
    """Environments in one process each, with the interface of SyncColumns.

    A process writes what memory needs into an array that it shares with this process.

    Args:
        make: makes an environment.
        count: number of environments.
        spec: their observations and actions.
        id: name of the environment in errors.
        infos: whether the processes send the info of the first step, and of each episode's last.
    """

    def __init__(self, make: Callable[[], Env], count: int, spec: EnvSpec, *, id: str, infos: bool) -> None:
        self._id = id
        self.infos: list[Any] = [{} for _ in range(count)]
        """The info of the latest last step of an episode; before the first of them, of the first step."""
        ends = [
            ("reward", np.float64),
            ("terminated", np.bool_),
            ("truncated", np.bool_),
            ("life_lost", np.bool_),
        ]
        mask = [(MASK, np.bool_, (spec.num_actions,))] if spec.has_mask else []
        dtype = np.dtype([("obs", spec.obs.dtype, spec.obs.shape), *ends, *mask], align=True)
        shared: Any = multiprocessing.RawArray(c_byte, count * dtype.itemsize)
        self._rows: Array = np.frombuffer(shared, dtype)
        self.mask: Bools | None = self._rows[MASK] if mask else None
        """The valid actions of each environment [count, A]; None if all always are."""
        self._awake = np.ones(count, np.bool_)
        self._pipes: list[Connection[Any, Any]] = []
        self._processes: list[multiprocessing.Process] = []
        try:
            for i in range(count):
                pipe, theirs = multiprocessing.Pipe()
                self._pipes.append(pipe)
                arguments = {"pipe": theirs, "others": self._pipes, "shared": shared, "dtype": dtype, "i": i}
                arguments |= {"make": CloudpickleWrapper(make), "infos": infos}
                process = multiprocessing.Process(target=serve, kwargs=arguments, daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
        except BaseException:
            self.close()
            raise

    def reset(self, where: Bools, seeds: Sequence[int] | None = None) -> Array:
        """Start an episode in the environments `where`; return the observations of all."""
        self._awake |= where
        self._ask({i: ("reset", seeds[i] if seeds else None) for i in np.flatnonzero(where).tolist()})
        return self._rows["obs"]

    def pause(self, where: Bools) -> None:
        """Make the environments in `where` repeat their last observation until they are reset."""
        self._awake &= ~where
        for name in ("reward", "terminated", "truncated", "life_lost"):
            self._rows[name][where] = 0

    def step(self, actions: Integers) -> tuple[Array, Floats, Bools, Bools]:
        action, rows = actions.tolist(), self._rows
        self._ask({i: ("step", action[i]) for i in np.flatnonzero(self._awake).tolist()})
        return rows["obs"], rows["reward"].copy(), rows["terminated"].copy(), rows["truncated"].copy()

    def lives_lost(self) -> Bools:
        """Return where the latest step cost a life."""
        return self._rows["life_lost"].copy()

    def _ask(self, requests: Mapping[int, Request]) -> None:
        """Send requests to environments and wait for all answers; raise the error that one answers."""
        for i, request in requests.items():
            with suppress(OSError):  # its process has ended; its answer says why, if it sent one
                self._pipes[i].send(request)
        waiting = {self._pipes[i]: i for i in requests}
        while waiting:
            ready: Any = wait(list(waiting), LOOK_SECONDS)
            for pipe in ready:
                self._receive(waiting.pop(pipe))
            if not ready:
                for i in waiting.values():
                    if not self._processes[i].is_alive():
                        raise self._died(i)

    def _receive(self, i: int) -> None:
        try:
            answer = self._pipes[i].recv()
        except (EOFError, OSError):
            answer = self._died(i)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            self.infos[i] = answer

    def _died(self, i: int) -> EnvFailed:
        process = self._processes[i]
        process.join(LOOK_SECONDS)
        return EnvFailed(f"env.id={self._id} failed: process {exit_reason(process.exitcode)}")

    def close(self) -> None:
        """Close the environments; kill the processes that do not end in time, and all that they started."""
        deadline = time.monotonic() + CLOSE_SECONDS
        try:
            for pipe in self._pipes:
                with suppress(OSError):
                    pipe.send(None)
            for process in self._processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            if stuck := sum(process.is_alive() for process in self._processes):
                text = "warning: env.id=%s: %d of %d processes did not close in time and were killed"
                log.warning(text, printable(self._id), stuck, len(self._processes))
            for process in self._processes:
                assert process.pid is not None
                kill_group(process.pid)
                process.kill()
                process.join()
            for pipe in self._pipes:
                pipe.close()


def unsendable(value: Any) -> str | None:
    """Return why a value cannot be sent to a new process; None if it can, as anything can to a fork."""
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if method == "fork":
        return None
    try:
        pickle.dumps(CloudpickleWrapper(value))
    except Exception as error:
        return one_line(error)
    return None


def serve(
    *,
    make: Callable[[], Env],
    pipe: "Connection[Any, Any]",
    others: Sequence["Connection[Any, Any]"],
    shared: Any,
    dtype: np.dtype[Any],
    i: int,
    infos: bool,
) -> None:
    """Make environment `i` and answer requests: None, an info, or the error that ends this process.

    Args:
        make: makes the environment.
        pipe: brings the requests; None closes the environment.
        others: the parent's ends of the pipes so far, which this process must not keep open.
        shared: memory for a row of `dtype` of each environment.
        dtype: has the fields obs, reward, terminated, truncated and life_lost, and action_mask where the
            environment gives masks.
        i: index of the environment and of its row.
        infos: answer the first step, and the last of each episode, with its info.
    """
    for other in others:
        other.close()
    lead_group()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    multiprocessing.current_process().daemon = False  # which would forbid the environment to start processes
    threading.Thread(target=end_with_parent, daemon=True).start()
    rows: Array = np.frombuffer(shared, dtype)
    obs, reward, terminated, truncated, lost, *masks = (rows[name] for name in dtype.names or ())
    with ExitStack() as stack:
        try:
            env = make()
            stack.callback(env.close)
            is_first = True
            while (request := pipe.recv()) is not None:
                what, value = request
                answer = None
                if what == "reset":
                    obs[i], info = env.reset(seed=value)
                else:
                    obs[i], reward[i], terminated[i], truncated[i], info = env.step(value)
                    lost[i] = life_lost(info)
                    if infos and (is_first or terminated[i] or truncated[i]):
                        answer = portable(info)
                    is_first = False
                for mask in masks:
                    mask[i] = info[MASK]
                pipe.send(answer)
            return
        except UserError as error:
            pipe.send(error)
            return
        except (EOFError, OSError):  # the parent process is gone
            pass
    kill_group(os.getpid())


def portable(info: Any) -> dict[str, Any]:
    """Return the entries of an info that can be pickled."""
    entries = {}
    for key, value in info.items() if isinstance(info, Mapping) else ():
        with suppress(Exception):  # a class of the environment's may raise anything
            pickle.loads(ForkingPickler.dumps((key, value)))  # some that can be pickled cannot be loaded
            entries[key] = value
    return entries


def end_with_parent() -> None:
    """Kill this process's group if it is still there some time after the parent process is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    time.sleep(CLOSE_SECONDS)
    kill_group(os.getpid())
