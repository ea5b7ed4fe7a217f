"""SBX: the DQN of Stable-Baselines3's interface in JAX.

Its own Q-network has two hidden layers of one width; here it gets the work's. The warm-up acts at random, its
Monitor keeps the returns, nothing is written, and it does not clip gradients.
"""

from collections.abc import Callable

import jax
from common import tell, timed, told
from flax import linen
from sbx import DQN
from sbx.dqn import policies

work, seed = told()


class QNetwork(linen.Module):
    """The hidden layers of the work, built where SBX builds its own."""

    n_actions: int
    n_units: int
    activation_fn: Callable[[jax.Array], jax.Array]

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for size in work.hidden_sizes:
            x = self.activation_fn(linen.Dense(size)(x))
        return linen.Dense(self.n_actions)(x)


policies.QNetwork = QNetwork
model = DQN(
    "MlpPolicy",
    "CartPole-v1",
    learning_rate=work.lr,
    buffer_size=work.capacity,
    learning_starts=work.learning_starts - 1,  # it learns once there are more
    batch_size=work.batch_size,
    gamma=work.gamma,
    train_freq=work.train_period,
    gradient_steps=1,
    target_update_interval=work.target_period,
    exploration_fraction=work.epsilon_duration / work.steps,
    exploration_initial_eps=work.epsilon_start,
    exploration_final_eps=work.epsilon_end,
    seed=seed,
    device="cpu",
    verbose=0,
)
loop = timed(lambda: model.learn(work.steps))
tell(
    steps=model.num_timesteps,
    updates=model._n_updates,
    loop=loop,
    returns=[episode["r"] for episode in model.ep_info_buffer],
)
