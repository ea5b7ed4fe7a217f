"""An update of a recurrent network beside plain PyTorch, and of eight seeds beside eight single ones."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.subjects import Call, learner, paired
from benchmarks.table import Line
from benchmarks.whole import STACK, Setting
from benchmarks.works import PLAIN
from dqn.types import Batch, EnvSpec, ObsSpec, Sample, Window

LENGTH, UNITS, BATCH_SIZE, LR, GAMMA = 20, 64, 32, 1e-3, 0.99
SPEC = EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), num_actions=2, time_limit=None)
OVERRIDES = [
    "env=base",
    "env.id=Any-v0",
    *PLAIN,
    *("network/core=gru", f"network.core.units={UNITS}", "network.torso.hidden_sizes=[]"),
    *("agent.max_grad_norm=null", f"agent.lr={LR}", f"agent.gamma={GAMMA}"),
]
COMPILED = "agent.compile=true"


def recurrent(setting: Setting) -> list[Line]:
    """Updates of a recurrent network, windows of 20 steps, beside torch.nn.GRU and other numbers of seeds."""
    torch.set_num_threads(1)
    compiles = [] if setting.quick else [COMPILED]
    single = [updater([*setting.overrides, *more], 1) for more in ([], *([word] for word in compiles))]
    stack = updater(setting.overrides, STACK)
    calls = [*single, stack, plain_update(sample_of(range(1)).batch)]
    *ours, eight, plain = paired(calls, setting.repeats, 0.01 if setting.quick else 0.2)
    work, line = (
        f"update of a GRU of {UNITS} units, {LENGTH} steps, batch {BATCH_SIZE}",
        partial(Line, unit="µs CPU"),
    )
    lines = [line(work=f"{work}, K = 1", beside="plain PyTorch", ours=ours[0], theirs=plain, most=1.1)]
    if compiles:
        name = f"{work}, K = 1, compiled"
        lines.append(line(work=name, beside="plain PyTorch", ours=ours[1], theirs=plain, most=0.45))
    alone = [STACK * cost for cost in ours[0]]
    lines.append(
        line(work=f"{work}, K = {STACK}", beside=f"{STACK} of ours", ours=eight, theirs=alone, most=0.55)
    )
    return lines


def updater(overrides: Sequence[str], num_seeds: int) -> Call:
    """Return an update of ours with a given sample."""
    seeds = range(num_seeds)
    agent = learner([*OVERRIDES, *overrides], SPEC, seeds, torch.device("cpu"))
    return partial(agent.update, sample_of(seeds), 0)


def sample_of(seeds: Sequence[int]) -> Sample:
    """Return windows of random steps, those of a seed the same in any stack."""
    random = [np.random.default_rng(seed) for seed in seeds]
    count = LENGTH * BATCH_SIZE

    def stacked(draw: str, *shape: int, dtype: type = np.float32) -> Tensor:
        return torch.from_numpy(np.stack([getattr(each, draw)(size=shape).astype(dtype) for each in random]))

    following = torch.arange(BATCH_SIZE, BATCH_SIZE + count).expand(len(seeds), -1)
    ones = torch.ones(len(seeds), count)
    window = Window(following=following, share=ones, exists=None, carry=None, previous=None)
    batch = Batch(
        obs=stacked("standard_normal", LENGTH + 1, BATCH_SIZE, 4),
        action=(stacked("random", count) * 2).long(),
        reward=stacked("random", count),
        discount=GAMMA * ones,
        next_obs=None,
        window=window,
    )
    rows = np.zeros((len(seeds), BATCH_SIZE), np.int64)
    return Sample(batch, torch.ones(rows.shape), rows)


class Module(nn.Module):
    """The same network in plain PyTorch, with the time axis first."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.head = nn.GRU(4, UNITS), nn.Linear(UNITS, 2)

    def forward(self, obs: Tensor) -> Tensor:
        values: Tensor = self.head(self.core(obs)[0])
        return values


def plain_update(batch: Batch) -> Call:
    """Return the update of a batch's first seed in plain PyTorch."""
    online, target = Module(), Module()
    optimizer = torch.optim.Adam(online.parameters(), lr=LR, fused=True)
    steps = (LENGTH, BATCH_SIZE)
    obs, action = batch.obs[0], batch.action[0].view(*steps, 1)
    reward, discount = batch.reward[0].view(steps), batch.discount[0].view(steps)

    def update() -> float:
        with torch.no_grad():
            y = reward + discount * target(obs)[1:].max(-1).values
        q = online(obs)[:-1].gather(-1, action).squeeze(-1)
        loss = nn.functional.smooth_l1_loss(q, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return update
