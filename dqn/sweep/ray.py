"""A job as a task of Ray's: on its node the task holds, and ends, the process that trains."""

import logging
import math
import os
import subprocess
import sys
import time
from typing import Any

from dqn.errors import UserError, first_line
from dqn.sweep.job import JobResult, JobSpec, SweepJob
from dqn.sweep.process import Process, same_imports

log = logging.getLogger(__name__)

LOCAL = "local"
"""The address of a cluster of this process's own, on this machine."""
OWN_CLUSTER = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""It asks for a token, and the second, whatever its name says, keeps its ports off the network."""
OBJECT_STORE = 100_000_000
"""Bytes of shared memory of one's own cluster: jobs leave their results in their folders."""
ANSWER_SECONDS = 15.0
"""What a cluster has to answer in."""
POLL_SECONDS = 0.1
"""From one look at the process of a job to the next."""
STOP_SECONDS = 15.0
"""What a process has to end in, once it is asked to; the sweep waits a little longer."""


def connect(address: str, num_cpus: float, num_gpus: float) -> None:
    """Connect this process to a cluster, once, until it ends; a cluster of its own ends with it.

    Args:
        address: of a cluster that runs, or local.
        num_cpus: that a job asks for.
        num_gpus: that a job asks for.

    Raises:
        UserError: Ray is not installed, nobody answers, or this machine is too small for a job.
    """
    if address == LOCAL:
        os.environ.update(OWN_CLUSTER)  # read as Ray is imported
    try:
        import ray
    except ImportError:
        raise UserError(
            "hydra/launcher=ray needs Ray, which the extra `ray` brings:"
            ' pip install -c constraints.txt -e ".[ray]"'
        ) from None
    if not ray.is_initialized():
        join(address)
    if lack := lacking(ray.nodes(), {"CPU": num_cpus, "GPU": num_gpus}):
        if address == LOCAL:
            raise UserError(lack)
        log.warning("%s; jobs wait until the cluster grows", lack)


def join(address: str) -> None:
    """Connect to a cluster, or start one."""
    import ray
    from ray.exceptions import RayError

    quiet = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
    try:
        if address == LOCAL:
            ray.init(LOCAL, object_store_memory=OBJECT_STORE, **quiet)
        else:
            ask(address)
            ray.init(address, **quiet)
    except (RuntimeError, OSError, RayError) as error:  # such as: another version of Ray there
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"hydra.launcher.address={address}: {reason}") from None


def ask(address: str) -> None:
    """Return if a cluster answers; asked by this process, Ray would go on for two minutes and then end it.

    Raises:
        UserError: nobody does, or something else.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        reason = f"nothing in {ANSWER_SECONDS:.0f} seconds"
    else:
        if done.returncode == 0:
            return
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
    should = f"should be {LOCAL}, or HOST:PORT of the head of a cluster that runs"
    raise UserError(f"hydra.launcher.address={address}: {should}; the answer there: {reason}")


def lacking(nodes: list[dict[str, Any]], job: dict[str, float]) -> str:
    """Return what is wrong if no node of a cluster has what a job asks for; "" if one has."""
    there = [node["Resources"] for node in nodes if node["Alive"]]
    if any(all(node.get(key, 0) >= number for key, number in job.items()) for node in there):
        return ""
    keys = ", ".join(f"hydra.launcher.num_{key.lower()}s={number}" for key, number in job.items())
    listed = "; ".join(", ".join(f"{node.get(key, 0):g} {key}" for key in job) for node in there)
    return f"{keys}: should be what one node has; here: {listed}"


class RayHandle:
    """A job in Ray's queue or at work; it ends with this process, however that ends.

    Args:
        job: checked.
        resources: num_cpus and num_gpus.
        env: variables that the user wants it to have.
    """

    def __init__(self, job: SweepJob, resources: dict[str, float], env: dict[str, str]) -> None:
        import ray

        task = ray.remote(run_here).options(max_retries=0, name=job.name, **resources)
        hidden = {} if resources["num_gpus"] else {"CUDA_VISIBLE_DEVICES": ""}  # Ray itself would show all
        self._ref: Any = task.remote(job.spec(sys.argv), same_imports() | hidden | env)

    def ended(self) -> JobResult | None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        if not ray.wait([self._ref], timeout=0)[0]:
            return None
        try:
            result: JobResult = ray.get(self._ref)
        except RayTaskError as error:  # its own text is the traceback
            return JobResult(1, first_line(error.cause))
        except RayError as error:
            return JobResult(1, first_line(error))
        return result

    def ask_to_stop(self) -> None:
        self._cancel(force=False)

    def kill(self) -> None:
        """End the task at once; the process of the job notices it."""
        self._cancel(force=True)

    def _cancel(self, *, force: bool) -> None:
        import ray

        ray.cancel(self._ref, force=force)


def run_here(spec: JobSpec, env: dict[str, str]) -> JobResult:
    """Train a run in a process of its own on this node; return how that ended.

    The process ends as an interrupted run if Ray ends this one. A task that is cancelled is interrupted.
    """
    import ray

    process = Process(spec, env, ray.util.get_node_ip_address())
    try:
        result = wait_for(process, math.inf)
    except KeyboardInterrupt:
        process.ask_to_stop()
        result = wait_for(process, STOP_SECONDS)
    if result is None:
        process.kill()
        result = process.ended()
    assert result is not None
    return result


def wait_for(process: Process, seconds: float) -> JobResult | None:
    """Return how a process ended, None if it has not within some seconds."""
    patience = time.monotonic() + seconds
    while (result := process.ended()) is None and time.monotonic() < patience:
        time.sleep(POLL_SECONDS)
    return result
