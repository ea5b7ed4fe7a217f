"""Invalid actions are neither taken nor bootstrapped from, by any backup and head."""

import math
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dqn.agent import Actor, Double, Greedy, Munchausen
from dqn.agent.backup import target_of
from dqn.agent.values import TransitionValues
from dqn.types import Batch
from dqn.value import Categorical, Expected, Quantile

STEPS, ACTIONS = 100_000, 4
TEMPERATURE, ALPHA, CLIP, OMEGA, GAMMA = 0.5, 0.9, -1.0, 2.0, 0.9


def mellowmax(batch: Batch, q_next: torch.Tensor, online: Any, target: Any) -> torch.Tensor:
    """Return plain values, of a custom backup that knows of no masks."""
    return (torch.logsumexp(OMEGA * q_next, -1) - math.log(ACTIONS)) / OMEGA


BACKUPS: dict[str, Any] = {
    "greedy": Greedy(),
    "double": Double(),
    "munchausen": Munchausen(temperature=TEMPERATURE, alpha=ALPHA, clip=CLIP),
    "mellowmax": mellowmax,
}


def values_of(returns: Any, batch: Batch) -> TransitionValues:
    """Return the values by a network that has these returns for any observations."""
    network: Any = lambda obs, rng: returns(obs)  # noqa: E731
    return TransitionValues(network, batch, lambda role: SimpleNamespace(role=role), False)


def goal(backup: Any, batch: Batch, online: Any, target: Any) -> Any:
    """Return the target distributions, as the agent computes them."""
    online, target = values_of(online, batch), values_of(target, batch)
    following = target.returns("next_obs", "target")
    valued = backup(batch, target.valid(following.mean(), "next_obs"), online, target)
    return target_of(valued, batch, following)


def random_masks(random: np.random.Generator, *shape: int) -> Any:
    mask = random.random((*shape, ACTIONS)) < 0.4
    np.put_along_axis(mask, random.integers(ACTIONS, size=(*shape, 1)), True, -1)
    return mask


def heads(value: torch.Tensor) -> dict[str, Any]:
    """Return the distributions of the same values [*, A] by all heads."""
    atoms = torch.linspace(-9, 9, 7)
    logits = -((value.unsqueeze(-1) - atoms) ** 2)
    many = value.unsqueeze(-1) + torch.tensor([-1.0, 0.0, 1.0])
    return {
        "expected": Expected(value, 1.0),
        "categorical": Categorical(logits.log_softmax(-1), atoms),
        "quantile": Quantile(many, torch.tensor([0.2, 0.5, 0.8]), 1.0),
        "implicit": Quantile(many, torch.tensor([0.2, 0.5, 0.8]), 1.0, q=value + 0.1),
    }


@pytest.mark.parametrize("backup", BACKUPS)
def test_no_target_depends_on_an_invalid_action(backup):
    """The targets stay as they are when invalid actions get values above all others."""
    random = np.random.default_rng(0)
    mask, next_mask = (torch.from_numpy(random_masks(random, 1, STEPS)) for _ in range(2))
    q = torch.from_numpy(random.standard_normal((2, 1, STEPS, ACTIONS), np.float32))
    ends = torch.tensor([0.0, GAMMA])[torch.from_numpy(random.integers(2, size=(1, STEPS)))]
    action = mask[0].float().multinomial(1).T
    batch = Batch(
        obs=torch.zeros(1, STEPS),
        action=action,
        reward=torch.zeros(1, STEPS),
        discount=ends,
        next_obs=torch.ones(1, STEPS),
        mask=mask,
        next_mask=next_mask,
    )
    high = torch.where(next_mask, q, 8.0), torch.where(mask, q, 8.0)
    for name in heads(q[0]):

        def network(obs: torch.Tensor, k: int, changed: bool, name: str = name) -> Any:
            at = int(obs[0, 0])
            return heads(high[1 - at][k] if changed else q[k])[name]

        one, other = (
            goal(
                BACKUPS[backup],
                batch,
                lambda obs, changed=changed: network(obs, 0, changed),
                lambda obs, changed=changed: network(obs, 1, changed),
            )
            for changed in (False, True)
        )
        assert torch.isfinite(one.mean()).all()
        torch.testing.assert_close(one.mean(), other.mean(), atol=1e-5, rtol=0)


def test_no_invalid_action_is_taken():
    """Random actions are uniform among the valid ones, greedy ones the first of the best, for any values."""
    random = np.random.default_rng(1)
    mask = random_masks(random, 1, STEPS)
    q = random.integers(3, size=(1, STEPS, ACTIONS)).astype(np.float32)
    q[0, ::5], q[0, 1::5] = np.nan, -np.inf
    for epsilon in (0.0, 0.5, 1.0):
        exploration: Any = SimpleNamespace(next=lambda playing: random.random((1, STEPS, 2)))
        actor = Actor(
            q_values=lambda obs, rng: q,
            num_actions=ACTIONS,
            stack=1,
            padding=0,
            exploration=exploration,
            noise=None,
        )
        action = actor.act(np.zeros((1, STEPS)), epsilon, mask=mask)
        assert np.take_along_axis(mask, action[..., None], -1).all()
        if epsilon == 0:
            best = np.where(mask, q, -np.inf).max(-1)
            finite = np.isfinite(best)
            taken = np.take_along_axis(q, action[..., None], -1)[..., 0]
            assert (taken[finite] == best[finite]).all()
    for valid in product([False, True], repeat=ACTIONS):
        chosen = action[(mask == valid).all(-1)]
        if chosen.size:
            shares = np.bincount(chosen, minlength=ACTIONS) / chosen.size
            np.testing.assert_allclose(shares, np.array(valid) / sum(valid), atol=0.03)


def naive(
    backup: str, q: dict[tuple[int, int], float], taken: tuple[int, int], following: list[float]
) -> float:
    """Return bonus + discounted value of a next state, given the values of its valid actions."""
    if backup in ("greedy", "double"):
        return GAMMA * max(following)
    if backup == "mellowmax":
        total = sum(math.exp(OMEGA * value) for value in following)
        return GAMMA * (math.log(total) - math.log(ACTIONS)) / OMEGA
    here = [value for (state, _), value in q.items() if state == taken[0]]
    soft = TEMPERATURE * math.log(sum(math.exp(value / TEMPERATURE) for value in here))
    log_policy = min(max(q[taken] - soft, CLIP), 0)
    return ALPHA * log_policy + GAMMA * TEMPERATURE * math.log(
        sum(math.exp(value / TEMPERATURE) for value in following)
    )


@pytest.mark.parametrize("backup", BACKUPS)
def test_the_fixed_point_is_that_of_tabular_learning(backup):
    """A chain of 6 states, of which each has other valid actions; invalid ones would pay most."""
    states, random = 6, np.random.default_rng(2)
    mask = random_masks(random, states)
    state, action = np.nonzero(mask)
    following, reward = random.integers(states, size=len(state)), random.random(len(state))
    q = dict.fromkeys(zip(state.tolist(), action.tolist(), strict=True), 0.0)
    for _ in range(200):
        q = {
            (s, a): r + naive(backup, q, (s, a), [v for (other, _), v in q.items() if other == n])
            for s, a, r, n in zip(state.tolist(), action.tolist(), reward, following.tolist(), strict=True)
        }
    table = torch.full((states, ACTIONS), 50.0, dtype=torch.float64)
    valid = torch.from_numpy(mask)
    table[valid] = 0.0
    batch = Batch(
        obs=torch.from_numpy(state)[None],
        action=torch.from_numpy(action)[None],
        reward=torch.from_numpy(reward)[None],
        discount=torch.full((1, len(state)), GAMMA, dtype=torch.float64),
        next_obs=torch.from_numpy(following)[None],
        mask=valid[state][None],
        next_mask=valid[following][None],
    )
    for _ in range(200):
        network = lambda obs: Expected(table[obs], None)  # noqa: E731
        table[state, action] = goal(BACKUPS[backup], batch, network, network).mean()[0]
    for (s, a), value in q.items():
        assert float(table[s, a]) == pytest.approx(value, abs=1e-6)
