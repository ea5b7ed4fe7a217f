"""Naive twins: obvious implementations of what the package computes, independent of the package."""

from collections.abc import Iterator

import gymnasium
import numpy as np
import torch

from dqn.seeding import integer, stream


def dqn_losses(
    *,
    seed: int,
    steps: int,
    iteration_length: int,
    hidden: int,
    batch: int,
    lr: float,
    gamma: float,
    starts: int,
    target_period: int,
    epsilon: float,
    n_step: int = 1,
    double: bool = False,
    terminal_limit: bool = False,
) -> Iterator[float]:
    """Yield the loss of each update of plain DQN on CartPole-v1, an update per step, a list as memory."""
    generator = torch.Generator().manual_seed(integer(seed, "parameters"))
    net, target = (
        torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2))
        for _ in range(2)
    )
    for module in (net[0], net[2]):
        bound = 1 / np.sqrt(module.in_features)
        for leaf in (module.weight, module.bias):
            torch.nn.init.uniform_(leaf, -bound, bound, generator=generator)
    target.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    exploration, sampling = stream(seed, "exploration"), stream(seed, "sampling")
    memory: list[tuple | None] = []  # None for each closing row
    window: list[tuple] = []

    def emit(count: int) -> None:
        """Store samples from the oldest transitions of the window to its end."""
        for _ in range(count):
            total = sum(gamma**i * reward for i, (_, _, reward, _, _) in enumerate(window))
            following, terminated = window[-1][3:]
            discount = 0.0 if terminated else gamma ** len(window)
            memory.append((window[0][0], window[0][1], total, following, discount))
            window.pop(0)

    for step in range(steps):
        if step % iteration_length == 0:
            env = gymnasium.make("CartPole-v1")
            obs, _ = env.reset(seed=integer(seed, "environment", step // iteration_length, 0))
        explore, where = exploration.random(2)
        with torch.no_grad():
            greedy = int(net(torch.tensor(obs)).argmax())
        action = int(where * 2) if explore < epsilon else greedy
        following, reward, terminated, truncated, _ = env.step(action)
        cut = truncated or (step + 1) % iteration_length == 0
        window.append((obs, action, reward, following, terminated or (truncated and terminal_limit)))
        if len(window) == n_step:
            emit(1)
        if terminated or cut:
            emit(len(window))
            memory.append(None)
        obs = env.reset()[0] if terminated or truncated else following
        if step + 1 >= starts:
            rows = len(memory) + len(window)  # stored rows; the newest ones are not starts yet
            chosen = [int(u * rows) for u in sampling.random(batch)]
            while bad := [i for i, row in enumerate(chosen) if row >= len(memory) or memory[row] is None]:
                for i, u in zip(bad, sampling.random(len(bad)), strict=True):
                    chosen[i] = int(u * rows)
            columns = zip(*(memory[row] for row in chosen), strict=True)
            s, a, r, s2, d = (torch.tensor(np.array(column)) for column in columns)
            with torch.no_grad():
                best = (net if double else target)(s2).argmax(-1, keepdim=True)
                y = r.float() + d.float() * target(s2).gather(1, best).squeeze(1)
            loss = torch.nn.functional.smooth_l1_loss(net(s).gather(1, a.unsqueeze(1)).squeeze(1), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()
        if (step + 1) % target_period == 0:
            target.load_state_dict(net.state_dict())


class PriorityList:
    """The priorities of one seed's starts in a dictionary; each start has a unique number."""

    def __init__(self, seed: int, *, alpha, beta, epsilon: float, max_weight: str) -> None:
        self.random = stream(seed, "sampling")
        self.alpha, self.beta, self.epsilon, self.max_weight = alpha, beta, epsilon, max_weight
        self.priorities: dict[float, float] = {}
        self.largest, self.stored = 1.0, 0

    def now(self, starts: list[float], stored: int) -> None:
        """Set the present starts, in the order of their rows; those already known keep their priorities."""
        self.priorities = {start: self.priorities.get(start, self.largest) for start in starts}
        self.stored = stored

    def sample(self, size: int) -> tuple[list[float], list[float]]:
        total = sum(p**self.alpha for p in self.priorities.values())
        count = len(self.priorities)
        exponent = -self.beta(self.stored)
        weight = {start: (count * p**self.alpha / total) ** exponent for start, p in self.priorities.items()}
        drawn = []
        for i, u in enumerate(self.random.random(size)):
            target, cumulated = (i + u) / size * total, 0.0
            for start, p in self.priorities.items():
                cumulated += p**self.alpha
                if target < cumulated:
                    drawn.append(start)
                    break
        most = max(weight[start] for start in (drawn if self.max_weight == "batch" else weight))
        return drawn, [weight[start] / most for start in drawn]

    def update(self, starts: list[float], errors: list[float]) -> None:
        for start, error in zip(starts, errors, strict=True):
            self.priorities[start] = abs(error) + self.epsilon
            self.largest = max(self.largest, self.priorities[start])
