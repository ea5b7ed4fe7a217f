"""A trained policy that takes the observations and returns the actions of its environment."""

from dataclasses import replace
from functools import partial
from typing import Any, cast, overload

import numpy as np
from gymnasium import spaces

from dqn.agent import Policy
from dqn.agent.actor import best
from dqn.deploy.carry import Carry, check_carry, previous_steps, start
from dqn.deploy.observations import Space, split, take
from dqn.env import MASK, Env, EnvFactory, close, encoder, mask_problem, stacked
from dqn.errors import printable
from dqn.process import preserve_settings
from dqn.types import Array, Bools, Floats, Integers

REMEMBERS_NOTHING = "remembers nothing of its episode (network.core=null)"


class GreedyPolicy:
    """The greedy policy of one seed.

    Args:
        policy: the policy of this seed alone.
        factory: makes the environment that it was trained on.
        seed: the seed within the run.
        iteration: the number of iterations after which the policy was stored.
        selected: a note that the policy was selected, and how; None for the last policy of the run.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        factory: EnvFactory,
        seed: int,
        iteration: int,
        selected: str | None,
    ) -> None:
        self.policy, self.seed, self.iteration, self.selected = policy, seed, iteration, selected
        self.obs = factory.spec.obs
        self._factory = factory
        with preserve_settings():
            env = factory.make_wrapped(training=False)
            close(env, factory.id)
        self.observation_space: Space = stacked(env, self.obs.stack).observation_space
        self.action_space = cast(spaces.Discrete, env.action_space)
        self._encode_one, _ = encoder(
            env.observation_space, scale_bytes=factory.scale_bytes, action_mask=factory.action_mask
        )
        self._actions = np.arange(policy.num_actions) + self.action_space.start

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the policy for another process, where its environment is made again for its spaces."""
        made = partial(
            GreedyPolicy,
            policy=self.policy,
            factory=self._factory,
            seed=self.seed,
            iteration=self.iteration,
            selected=self.selected,
        )
        return made, ()

    def __repr__(self) -> str:
        selected = "" if self.selected is None else ", selected"
        about = f"seed {self.seed}, after iteration {self.iteration}{selected}"
        return f"<GreedyPolicy for {printable(self._factory.id)}: {about}>"

    def make_env(self, **kwargs: Any) -> Env:
        """Return an environment like the one of training, whose observations and actions are the policy's.

        It has the wrappers in `env.wrappers`, without those in `env.training_wrappers`. Where the network
        reads several frames, its observations are the latest ones, the newest last.

        Args:
            kwargs: further arguments of gymnasium.make, such as render_mode="human"; they replace the run's.
        """
        factory = replace(self._factory, kwargs={**self._factory.kwargs, **kwargs})
        return stacked(factory.make_wrapped(training=False), self.obs.stack)

    def start(self, n: int | None = None) -> Carry:
        """Return the carry at the start of `n` episodes, which are played side by side; None: of one.

        Raises:
            ValueError: the policy remembers nothing.
        """
        if not self.policy.is_recurrent:
            raise ValueError(f"start: the policy {REMEMBERS_NOTHING}; policy(obs) needs no carry")
        return start(1 if n is None else n, self.policy.network.memory_sizes)

    @overload
    def __call__(
        self, obs: Any, carry: Carry, reward: Any = None, mask: Any = None
    ) -> tuple[int | Integers, Carry]: ...

    @overload
    def __call__(self, obs: Any, mask: Any, /) -> int | Integers: ...

    @overload
    def __call__(self, obs: Any, *, mask: Any = None) -> int | Integers: ...

    def __call__(self, obs: Any, carry: Any = None, reward: Any = None, mask: Any = None) -> Any:
        """Return the valid action with the highest value: an int for one observation, [B] for a batch.

        A recurrent policy takes a carry, and returns the action and the carry after it. The mask comes second
        for any other policy.

        Args:
            obs: one observation of the environment, or a batch: an array [B, ...]; for Dict and Tuple spaces
                their parts as arrays [B, ...], or a list of observations.
            carry: what a recurrent policy remembers of the episodes: that of `start`, then that of the call
                before.
            reward: the environment's reward of the latest step, one number or [B], for a policy of
                `network.sees_action=true`; it may be left out at the start of the episodes.
            mask: the valid actions, zeros and ones [A], or [B, A] for a batch. A policy of
                `env.action_mask=info` needs it, one of `env.action_mask=obs` finds it in `obs`.

        Raises:
            ValueError: `obs` is neither an observation of the environment nor a batch, or another argument is
                missing or wrong.
        """
        if not self.policy.is_recurrent and not isinstance(carry, Carry) and mask is None:
            carry, mask = None, carry
        rows, is_batch = self._split(obs)
        values, state = self._values(rows, carry, reward)
        chosen = best(values, self._valid(rows, mask, is_batch=is_batch))
        actions: Integers = self._actions[chosen]
        action = actions if is_batch else int(actions[0])
        return action if state is None else (action, carry.after(state, chosen))

    def _values(self, rows: Any, carry: Any, reward: Any) -> tuple[Floats, Floats | None]:
        """Return the action values [B, A] and a recurrent network's state after these observations."""
        obs = self._encode(rows)[np.newaxis]
        if self.policy.is_recurrent:
            check_carry(carry, len(rows), self.policy.network.memory_sizes)
            previous = previous_steps(carry, reward, self._factory.learned_reward)
            values, state = self.policy.forward(obs, None, (carry.state[np.newaxis], previous[np.newaxis]))
            return values[0], state[0]
        for name, given in (("carry", carry), ("reward", reward)):
            if given is not None:
                raise ValueError(f"{name}: should be left out; the policy {REMEMBERS_NOTHING}")
        return self.policy.q_values(obs)[0], None

    def _valid(self, rows: Any, mask: Any, *, is_batch: bool) -> Bools | None:
        """Return the valid actions [B, A] of observations; None if all are."""
        source, name, shape = self._factory.action_mask, "mask", (len(rows), len(self._actions))
        if source == "obs":
            if mask is not None:
                raise ValueError("mask: should be left out; the observation has it (env.action_mask=obs)")
            newest = (take(self.observation_space, row, -1) if self.obs.stack > 1 else row for row in rows)
            name, mask, is_batch = f"obs[{MASK!r}]", [one[MASK] for one in newest], True
        elif mask is None:
            if source == "info":
                given = f"mask=info[{MASK!r}]" if self.policy.is_recurrent else f"info[{MASK!r}]"
                should = f"should be given as policy(obs, {'carry, ' * self.policy.is_recurrent}{given})"
                raise ValueError(f"mask: {should}; the policy was trained with env.action_mask=info")
            return None
        if problem := mask_problem(mask, *shape[not is_batch :]):
            raise ValueError(f"{name}: {problem}")
        return np.array(mask, np.bool_).reshape(shape)

    def q_values(self, obs: Any, carry: Carry | None = None, reward: Any = None) -> Floats:
        """Return the action values, [A] for one observation and [B, A] for a batch, in the actions' order.

        Those of invalid actions are included; nothing was learned of them.

        Args:
            obs: one observation or a batch, as in `__call__`.
            carry: of a recurrent policy, as in `__call__`, which returns the next one.
            reward: as in `__call__`.

        Raises:
            ValueError: an argument is missing or wrong.
        """
        rows, is_batch = self._split(obs)
        values, _ = self._values(rows, carry, reward)
        return values if is_batch else np.asarray(values[0])

    def encode(self, obs: Any) -> Array:
        """Return observations [B, ...] as the network reads them; for one observation, B is 1.

        Args:
            obs: one observation or a batch, as in `__call__`.

        Raises:
            ValueError: `obs` is neither.
        """
        return self._encode(self._split(obs)[0])

    def _split(self, obs: Any) -> tuple[Any, bool]:
        try:
            return split(self.observation_space, obs)
        except ValueError as error:
            if self.obs.stack == 1:
                raise
            frames = f"the policy reads the latest {self.obs.stack} observations together"
            raise ValueError(f"{error}; {frames}, as those of make_env() are") from None

    def _encode(self, rows: Any) -> Array:
        encoded = np.empty((len(rows), *self.obs.stacked_shape), self.obs.dtype)
        frames = encoded.reshape(len(rows), self.obs.stack, *self.obs.shape)
        for i, row in enumerate(rows):
            for t in range(self.obs.stack):
                frame = take(self.observation_space, row, t) if self.obs.stack > 1 else row
                frames[i, t] = self._encode_one(frame)
        return encoded
