"""The launcher for Ray: on its node, the task of a job starts and stops the process that trains."""

import logging
import math
import os
import subprocess
import sys
import time
from typing import Annotated, Any

from annotated_types import Gt, Lt, MultipleOf

from dqn.errors import UserError, first_line, needs_extra, one_line
from dqn.sweep.job import JobHandle, JobResult, JobSpec, SweepJob
from dqn.sweep.launcher import Count, JobLauncher, Natural
from dqn.sweep.process import Process, same_imports
from dqn.tracking.progress import waiting

log = logging.getLogger(__name__)

Share = Annotated[float, Gt(0), Lt(1), MultipleOf(1e-4)]
"""Share of a processor; 1e-4 is Ray's unit."""
LOCAL = "local"
"""Address that stands for a cluster which this process starts on this machine."""
OWN_CLUSTER = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Settings of the local cluster: it requires a token, and (second) keeps its ports off the network."""
OBJECT_STORE = 100_000_000
"""Bytes of shared memory of the local cluster; little, since jobs leave their results in their folders."""
ANSWER_SECONDS = 15.0
"""Seconds within which a cluster must answer."""
POLL_SECONDS = 0.1
"""Seconds between checks of a job's process."""
STOP_SECONDS = 15.0
"""Seconds that a process gets to stop before it is killed; fewer than the sweep waits."""


class Ray(JobLauncher):
    """Runs each job as a task of Ray, on this machine or a cluster; all tasks end with this process."""

    def __init__(
        self, *, n_jobs: Count, address: str, num_cpus: Count | Share, num_gpus: Natural | Share
    ) -> None:
        super().__init__(n_jobs=n_jobs)
        self._address = address
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def _prepare(self) -> None:
        try:
            with waiting("connecting to Ray"):
                connect(self._address, **self._resources)
        except UserError as error:
            sys.exit(str(error))

    def _start(self, job: SweepJob) -> JobHandle:
        import ray

        task = ray.remote(run_here).options(max_retries=0, name=job.name, **self._resources)
        hidden = {} if self._resources["num_gpus"] else {"CUDA_VISIBLE_DEVICES": ""}  # Ray would show all
        return RayHandle(task.remote(job.spec(), same_imports() | hidden | self._env()))


def connect(address: str, num_cpus: float, num_gpus: float) -> None:
    """Connect this process, once, to a cluster that can run a job; a local one ends with this process.

    Raises:
        UserError: Ray is not installed, no cluster answers, or this machine is too small for a job.
    """
    if address == LOCAL:
        os.environ.update(OWN_CLUSTER)  # Ray reads them on import
    with needs_extra("hydra/launcher=ray", "Ray", "ray"):
        import ray
    if not ray.is_initialized():
        join(address)
    if lack := lacking(ray.nodes(), {"CPU": num_cpus, "GPU": num_gpus}):
        if address == LOCAL:
            raise UserError(lack)
        log.warning("%s; jobs wait until the cluster grows", lack)


def join(address: str) -> None:
    """Connect to a running cluster, or start the local one."""
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
    if address == LOCAL:
        options["object_store_memory"] = OBJECT_STORE
    else:
        check_address(address)
    try:
        ray.init(address, **options)
    except Exception as error:  # of many types: another version of Ray, or a node that starts too slowly
        raise UserError(f"hydra.launcher.address={address}: {one_line(error)}") from None


def check_address(address: str) -> None:
    """Raise UserError unless a cluster answers at an address.

    A separate process asks: in this one, Ray would try for two minutes and then end the process.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        reason = f"no answer within {ANSWER_SECONDS:.0f} seconds"
    else:
        if done.returncode == 0:
            return
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
    should = f"should be {LOCAL}, or HOST:PORT of the head node of a running cluster"
    raise UserError(f"hydra.launcher.address={address}: {should} ({reason})")


def lacking(nodes: list[dict[str, Any]], job: dict[str, float]) -> str:
    """Return what is wrong if no live node has the resources of a job, "" if one has."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if any(all(node.get(key, 0) >= number for key, number in job.items()) for node in alive):
        return ""
    keys = ", ".join(f"hydra.launcher.num_{key.lower()}s={number}" for key, number in job.items())
    listed = "; ".join(", ".join(f"{node.get(key, 0):g} {key}" for key in job) for node in alive)
    return f"{keys}: should be at most what one node has: {listed}"


class RayHandle:
    """A job that is queued or running in Ray; it ends with this process, even if that is killed."""

    def __init__(self, ref: Any) -> None:
        self._ref = ref

    def ended(self) -> JobResult | None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        if not ray.wait([self._ref], timeout=0)[0]:
            return None
        try:
            result: JobResult = ray.get(self._ref)
        except RayError as error:  # the text of a RayTaskError is a traceback
            return JobResult(1, first_line(error.cause if isinstance(error, RayTaskError) else error))
        return result

    def ask_to_stop(self) -> None:
        import ray

        ray.cancel(self._ref, force=False)

    def kill(self) -> None:
        """Kill the task; the job's process notices and stops."""
        import ray

        ray.cancel(self._ref, force=True)


def run_here(spec: JobSpec, env: dict[str, str]) -> JobResult:
    """Train a run in a separate process on this node; return how the process ended.

    It stops as an interrupted run if the task is cancelled (a KeyboardInterrupt here) or killed.
    """
    import ray

    process = Process(spec, env, ray.util.get_node_ip_address())
    deadline = math.inf
    while True:
        try:
            if result := process.ended():
                return result
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            process.ask_to_stop()
            deadline = time.monotonic() + STOP_SECONDS
