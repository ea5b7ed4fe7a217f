"""Convolutional networks beside plain PyTorch, on the CPU and on a GPU, and whole runs of Atari on a GPU."""

import itertools
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import limits
from benchmarks.subjects import Call, built, learner, paired
from benchmarks.table import Line
from benchmarks.whole import STACK, Setting
from benchmarks.works import DER, MINATAR_NET, NATURE, PLAIN, Net
from dqn.config.compose import compose
from dqn.devices import description, find_device
from dqn.runner import Runner
from dqn.types import Batch, Sample

BATCH_SIZE, MAX_GRAD_NORM = 32, 10.0
NETS = (NATURE, MINATAR_NET, DER)
COUNTS = (1, 4, STACK)
"""Numbers of seeds in lock step."""
BUDGET = 200.0
"""Seconds of the part `gpu` after which it compiles no further update, so that it ends in five minutes."""
COMPARED = 3
"""Updates after which a seed alone is compared with that seed in a stack."""
STEPS, QUICK_STEPS = 5_000, 100
ATARI = [
    *("env=atari", "env.game=Breakout", "env.kwargs.sticky=0", "env.kwargs.noop_max=30"),
    *("env.kwargs.fire_on_reset=true", "env.life_loss_is_terminal=true", "env.reward_clip=1"),
    *("network/torso=nature", *PLAIN, "runner=steps", "runner.batch_size=32", "runner.train_period=4"),
    *("runner.target_period=1000", "runner.target_tau=1.0", "runner.eval_episodes=0", "agent.lr=1e-4"),
    *("memory=uniform", "schedule=constant_hundredth", "agent.gamma=0.99"),
]
"""Overrides for the settings that both libraries share; epsilon is that of most of their runs."""
SETTINGS = {
    "CleanRL": ["network.head.huber_delta=null", "memory.capacity=1000000"],
    "stable-baselines3": ["agent.max_grad_norm=10", "memory.capacity=100000"],
}


def nature(setting: Setting) -> list[Line]:
    """An update of the network of Mnih et al. (2015) on the CPU, beside plain PyTorch."""
    torch.set_num_threads(1)
    return updates(NATURE, 1, {"": []}, setting, torch.device("cpu"), most=1.05)


def gpu(setting: Setting) -> list[Line]:
    """Updates of convolutional networks and runs of Atari on a GPU; with --quick also on the CPU."""
    start = time.perf_counter()
    device = find_device(str(compose(setting.overrides).config["device"]))
    if device.type == "cpu" and not setting.quick:
        print("left out: there is no GPU", flush=True)
        return []
    print(f"  {description(device)}, torch {torch.__version__}", flush=True)
    counts = (1, 2) if setting.quick else COUNTS
    lines = []
    for net, count in itertools.product(NETS, counts):
        ways = {"": [], ", bfloat16": ["agent.precision=bfloat16"]}
        lines += updates(net, count, ways, setting, device)
    for net in NETS:
        print(f"  {net.name}: {alone_or_stacked(net, counts[-1], setting.overrides, device)}", flush=True)
    for name, overrides in SETTINGS.items():
        lines += atari_run(name, overrides, setting)
    for net, count in itertools.product(NETS, (counts[-1], 1) if device.type == "cuda" else ()):
        if time.perf_counter() - start > BUDGET:
            print(f"  {net.name}, K = {count}: not compiled, for want of time", flush=True)
            continue
        lines += updates(net, count, {", compiled": ["agent.compile=true"]}, setting, device)
    return lines


def updates(
    net: Net,
    num_seeds: int,
    ways: dict[str, list[str]],
    setting: Setting,
    device: torch.device,
    *,
    most: float | None = None,
) -> list[Line]:
    """Measure an update in several ways, with a given sample, beside plain PyTorch.

    Args:
        net: the network.
        num_seeds: K.
        ways: overrides of ours, by what is added to the name.
        setting: how to measure.
        device: where.
        most: target of the ratio.
    """
    sample = sample_of(net, range(num_seeds), device)
    agents = [
        learner([*net.overrides(), *setting.overrides, *more], net.spec, range(num_seeds), device)
        for more in ways.values()
    ]
    calls: list[Call] = [partial(agent.update, sample, 0) for agent in agents]
    make = partial(limits.ImageModule, net.spec.obs, net.convolutions, net.hidden_size, net.spec.num_actions)
    calls.append(limits.plain_update(make, sample.batch, net.lr, MAX_GRAD_NORM))
    on_cpu = device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    *ours, plain = paired(calls, setting.repeats, 0.01 if setting.quick else 0.2, clock)
    lines = [
        Line(
            work=f"update of {net.name}, K = {num_seeds}, batch {BATCH_SIZE}{name}, per seed",
            beside="plain PyTorch",
            ours=[cost / num_seeds for cost in costs],
            theirs=plain,
            unit="µs CPU" if on_cpu else "µs wall",
            most=most,
        )
        for name, costs in zip(ways, ours, strict=True)
    ]
    for line in lines:
        print(f"  {line.work}: {1e6 / min(line.ours):,.0f} updates/s at best", flush=True)
    return lines


def sample_of(net: Net, seeds: Sequence[int], device: torch.device) -> Sample:
    """Return random transitions, those of a seed the same in any stack."""
    shape, dtype = net.spec.obs.stacked_shape, net.spec.obs.dtype
    parts = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        obs, next_obs = random.integers(0, 2 if dtype == np.bool_ else 256, (2, BATCH_SIZE, *shape)).astype(
            dtype
        )
        action = random.integers(net.spec.num_actions, size=BATCH_SIZE)
        parts.append((obs, action, *random.random((2, BATCH_SIZE), np.float32), next_obs))
    each: Any = (torch.from_numpy(np.stack(arrays)).to(device) for arrays in zip(*parts, strict=True))
    batch = Batch(*each)
    return Sample(batch, torch.ones_like(batch.reward), np.zeros(batch.action.shape, np.int64))


def alone_or_stacked(net: Net, num_seeds: int, overrides: Sequence[str], device: torch.device) -> str:
    """Return how the last seed's parameters alone and in a stack differ after some updates."""
    found = []
    for seeds in (range(num_seeds), range(num_seeds - 1, num_seeds)):
        agent = learner([*net.overrides(), *overrides], net.spec, seeds, device)
        for _ in range(COMPARED):
            agent.update(sample_of(net, seeds, device), 0)
        found.append(agent.policy.parameters.value[-1])
    difference = float((found[0] - found[1]).abs().max())
    same = "equals" if difference == 0 else f"differs by up to {difference:.0e} from"
    return f"a seed alone {same} that seed in a stack of {num_seeds}"


def atari_run(name: str, overrides: Sequence[str], setting: Setting) -> list[Line]:
    """Measure a step of a run with the settings of another library, beside the environment alone."""
    steps = QUICK_STEPS if setting.quick else STEPS
    given = [*ATARI, *overrides, *(["memory.capacity=1000"] if setting.quick else []), *setting.overrides]
    given += [f"runner.total_steps={2 * steps}", f"runner.iteration_length={steps}"]
    with built([*given, f"runner.learning_starts={steps // 2}"]) as runner:
        runner.open()
        runner.train()  # with the first updates
        start = time.perf_counter()
        runner.train()
        whole = (time.perf_counter() - start) / steps * 1e6
        bare = environment_alone(runner, steps)
    print(f"  Atari with the settings of {name}: {4e6 / whole:,.0f} frames/s", flush=True)
    work = f"run of Breakout, settings of {name}, per step of 4 frames"
    return [Line(work=work, beside="the environment alone", ours=[whole], theirs=[bare], unit="µs wall")]


def environment_alone(runner: Runner, steps: int) -> float:
    """Return the microseconds of a step with random actions."""
    runner.env.reset(0)
    actions = np.random.default_rng(0).integers(runner.agent.policy.num_actions, size=(steps, 1, 1))
    start = time.perf_counter()
    for action in actions:
        ended = runner.env.step(action).ended
        if ended.any():
            runner.env.restart(ended)
    return (time.perf_counter() - start) / steps * 1e6
