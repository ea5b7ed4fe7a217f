"""Parts with one fault each, for the conformance checks to find: `faults.X` in configurations."""

from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from dqn.agent import Agent
from dqn.agent.backup import Greedy, greedy
from dqn.memory import LOST, NStep, ReplayMemory, Uniform
from dqn.network import GRU, MLP, Conv, DuelingStreams, ExpectedHead, Linear
from dqn.types import Probability
from dqn.value import Expected


class GlobalNoise(Linear):
    """A layer that draws from the global generator."""

    def forward(self, x, rng):
        return super().forward(x, rng) + 0.01 * torch.randn(x.shape[1], 1)


class NoiseOfRng(Linear):
    """A layer that draws from the global generator if it is given an rng."""

    def forward(self, x, rng):
        out = super().forward(x, rng)
        return out if rng is None else out + torch.randn_like(out)


class OneGenerator(Linear):
    """A layer that draws the parameters of all seeds from the first seed's generator."""

    def __init__(self, *, generators, **options):
        super().__init__(generators=[generators[0]] * len(generators), **options)


class Passing(Linear):
    """A layer that returns its input if the input has the right shape."""

    def forward(self, x, rng):
        return x if x.shape[-1] == self.out_features else super().forward(x, rng)


class Squashing(Linear):
    """A layer whose last operation needs its own result for the gradient."""

    def forward(self, x, rng):
        return torch.tanh(super().forward(x, rng))


class BatchNormed(MLP):
    """A torso that normalizes over the batch."""

    def forward(self, x, rng):
        x = super().forward(x, rng)
        return x - x.mean(1, keepdim=True)


class Narrow(MLP):
    """A torso that returns one feature less than `out_features`."""

    def forward(self, x, rng):
        return super().forward(x, rng)[..., 1:]


class ImageAlone(Conv):
    """A torso that ignores the numbers beside an image."""

    def forward(self, x, rng):
        return super().forward(torch.cat((x[..., : -self.vector_size], x[..., : self.vector_size]), -1), rng)


class WrongMean(DuelingStreams):
    """Streams that subtract the mean of the batch instead of that of the actions."""

    def forward(self, features, rng):
        advantage = self.advantage.forward(features, rng)
        return self.value.forward(features, rng) + (advantage - advantage.mean(1, True))


class MixedSeeds(ExpectedHead):
    """A head that averages over seeds."""

    def forward(self, features, rng):
        value = super().forward(features, rng).value
        return Expected(0.5 * value + 0.5 * value.mean(0, keepdim=True), self.huber_delta)


class MixedCore(GRU):
    """A core whose carry is averaged over seeds."""

    def forward(self, prepared, carry, rng):
        return 0.5 * super().forward(prepared, carry, rng) + 0.5 * carry.mean(0, keepdim=True)


class KeepingCore(GRU):
    """A core that also keeps its carry in the module."""

    kept = 0.0

    def forward(self, prepared, carry, rng):
        kept = self.kept if isinstance(self.kept, float) or self.kept.shape == carry.shape else 0.0
        self.kept = super().forward(prepared, carry + kept, rng).detach()
        return super().forward(prepared, carry + kept, rng)


class DetachedCore(GRU):
    """A core that learns from one step at a time."""

    def forward(self, prepared, carry, rng):
        return super().forward(prepared, carry.detach(), rng)


class WideCore(GRU):
    """A core with more features than its carry holds."""

    def __init__(self, **options):
        super().__init__(**options)
        self.out_features += 1


class UnusedParameter(ExpectedHead):
    """A head with a parameter that it does not use."""

    def __init__(self, *, make, **options):
        super().__init__(make=make, **options)
        self.unused = nn.Parameter(torch.ones(make.num_seeds, 1))


@dataclass(frozen=True)
class NoDiscount(Expected):
    def shift(self, reward, discount):
        return replace(self, value=reward + self.value)


@dataclass(frozen=True)
class BatchLoss(Expected):
    def loss(self, target):
        return super().loss(target).mean(-1, keepdim=True).expand(self.value.shape)


@dataclass(frozen=True)
class SignedPriority(Expected):
    def priority(self, target):
        return target.value - self.value


class NoDiscountHead(ExpectedHead):
    def forward(self, features, rng):
        return NoDiscount(super().forward(features, rng).value, self.huber_delta)


class BatchLossHead(ExpectedHead):
    def forward(self, features, rng):
        return BatchLoss(super().forward(features, rng).value, self.huber_delta)


class SignedPriorityHead(ExpectedHead):
    def forward(self, features, rng):
        return SignedPriority(super().forward(features, rng).value, self.huber_delta)


class BatchBackup:
    """A backup that averages over the batch."""

    def __call__(self, batch, q_next, online, target):
        return torch.softmax(q_next.mean(1, keepdim=True), -1).expand(q_next.shape), 0.0


class Unnormalized:
    def __call__(self, batch, q_next, online, target):
        return q_next.softmax(-1) + 0.1, 0.0


class InPlace:
    """A backup that changes its input."""

    def __call__(self, batch, q_next, online, target):
        return greedy(q_next.sub_(q_next.mean(-1, keepdim=True))), 0.0


class BonusOfEnds:
    """A backup with a bonus for the state after a termination."""

    def __call__(self, batch, q_next, online, target):
        return greedy(q_next), 0.1 * q_next.amax(-1)


class Pessimist:
    """A backup that expects the worst action: right for another problem."""

    def __call__(self, batch, q_next, online, target):
        return greedy(torch.where(q_next.isfinite(), -q_next, q_next)), 0.0


class ColumnOfValues:
    """A backup whose plain values have one axis too many."""

    def __call__(self, batch, q_next, online, target):
        return q_next.amax(-1, keepdim=True)


class Raising:
    """A backup that raises an error."""

    def __call__(self, batch, q_next, online, target):
        return batch._asdict()["mine"]


class WrongMellowmax:
    """A mellowmax that lacks the number of actions, although it says what its values should be."""

    def __call__(self, batch, q_next, online, target):
        return torch.logsumexp(5 * q_next, -1) / 5

    def state_values(self, q):
        return torch.exp(5 * q).mean(-1).log() / 5


class BackupOfAllSeeds(Greedy):
    """A backup that takes the mean of the seeds' values."""

    def __call__(self, batch, q_next, online, target):
        return greedy(q_next.mean(0, keepdim=True).expand_as(q_next)), 0.0


class Unmasking(Greedy):
    """A backup for which invalid actions have the value 0."""

    def __call__(self, batch, q_next, online, target):
        return super().__call__(batch, q_next.nan_to_num(neginf=0.0), online, target)


class NoisyBackup(Greedy):
    """A backup with a little noise from torch's global generator."""

    def __call__(self, batch, q_next, online, target):
        return greedy(q_next + 0.01 * torch.randn_like(q_next)), 0.0


class Remembering(Greedy):
    """A backup that changes during training, with a state that no checkpoint holds."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, batch, q_next, online, target):
        self.calls += 1
        return (q_next.softmax(-1) if self.calls < 20 else greedy(q_next)), 0.0


@dataclass(kw_only=True)
class Counter:
    """A schedule whose values depend on the number of calls."""

    value: Probability

    def __call__(self, tick: int) -> float:
        self.value *= 0.99
        return self.value


@dataclass(kw_only=True)
class TooLarge:
    value: Probability

    def __call__(self, tick: int) -> float:
        return 1.0 + tick


class OwnRandomness(Uniform):
    """A sampler that draws from an unseeded generator."""

    def sample(self, batch_size: int) -> Any:
        row, weight = super().sample(batch_size)
        return np.random.default_rng().permuted(row, axis=1), weight


class OtherSeeds(Uniform):
    """A sampler that returns the rows of other seeds."""

    def sample(self, batch_size: int) -> Any:
        row, weight = super().sample(batch_size)
        return row[::-1], weight


class ZeroWeights(Uniform):
    def sample(self, batch_size: int) -> Any:
        row, weight = super().sample(batch_size)
        return row, weight - 1


class ForgetfulSampler(Uniform):
    """A sampler that saves no state."""

    def state_dict(self) -> Any:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


class NoTermination(NStep):
    """A reader that bootstraps after terminations."""

    def __call__(self, ring, start):
        found = super().__call__(ring, start)
        return found._replace(discount=np.full_like(found.discount, self.gamma))


class NextEpisode(NStep):
    """A reader that returns the next episode's first observation after an end."""

    def __call__(self, ring, start):
        found = super().__call__(ring, start)
        ended = ring.end[start] != 0
        return found._replace(following=np.where(ended, ring.after(found.following), found.following))


class LivesIgnored(NStep):
    """A reader that bootstraps after lost lives."""

    def __call__(self, ring, start):
        found = super().__call__(ring, start)
        lost = ring.end[start] == LOST
        return found._replace(discount=np.where(lost, np.float32(self.gamma), found.discount))


class Unpadded(ReplayMemory):
    """A memory that repeats the newest frame of a stack where the episode has no earlier ones."""

    def sample(self, batch_size: int) -> Any:
        whole = super().sample(batch_size)
        obs = whole.batch.obs
        is_missing = (obs == 0).all(-1, keepdim=True)
        obs = torch.where(is_missing, obs[:, :, -1:], obs)
        return whole._replace(batch=whole.batch._replace(obs=obs))


class LateAction(ReplayMemory):
    """A memory that returns the actions of other rows."""

    def sample(self, batch_size: int) -> Any:
        whole = super().sample(batch_size)
        return whole._replace(batch=whole.batch._replace(action=whole.batch.action.roll(1, -1)))


class SwappedMasks(ReplayMemory):
    """A memory that takes the mask of the next state for that of the state, and the other way round."""

    def sample(self, batch_size: int) -> Any:
        whole = super().sample(batch_size)
        mask, next_mask = whole.batch.mask, whole.batch.next_mask
        return whole._replace(batch=whole.batch._replace(mask=next_mask, next_mask=mask))


class LostMask(ReplayMemory):
    """A memory that knows no masks of next states."""

    def sample(self, batch_size: int) -> Any:
        whole = super().sample(batch_size)
        return whole._replace(batch=whole.batch._replace(next_mask=None))


class AllSeeds(torch.optim.Adam):
    """An optimizer that scales by the gradient of all seeds."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for leaf in group["params"]:
                leaf.grad /= leaf.grad.norm()
        return super().step(closure)


class ForgetfulOptimizer(torch.optim.Adam):
    def load_state_dict(self, state: Any) -> None:
        pass


class AllSeedsAgent(Agent):
    """An agent whose learning rate depends on the loss of all seeds."""

    def update(self, sample, tick):
        self.lr = 1e-3 * (
            1.0 + min(1.0, 100.0 * float(self.losses(sample.batch, self.rng)[0].mean().detach()))
        )
        return super().update(sample, tick)


class MovingTarget(Agent):
    """An agent whose updates move the target network."""

    def update(self, sample, tick):
        report = super().update(sample, tick)
        self.sync_target(0.1)
        return report


class Unseeded(gymnasium.Env):
    """An environment whose rewards come from an unseeded generator."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.rng = np.random.default_rng()
        return self.np_random.random(2, np.float32), {}

    def step(self, action: int) -> Any:
        ended = bool(self.np_random.random() < 0.1)
        return self.np_random.random(2, np.float32), float(self.rng.random()), ended, False, {}


class Outside(Unseeded):
    """An environment whose first observations are not in its space."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        obs, info = super().reset(seed=seed)
        return obs + 2, info


gymnasium.register("Unseeded-v0", Unseeded, max_episode_steps=50)
gymnasium.register("Outside-v0", Outside, max_episode_steps=50)
