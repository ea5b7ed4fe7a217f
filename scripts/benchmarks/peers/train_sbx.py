"""The DQN of SBX, which has Stable-Baselines3's interface and uses JAX.

Its Q-network has two hidden layers of one width; here it gets the hidden layers of the work. The warm-up acts
at random, its Monitor keeps the returns, it writes nothing, and it does not clip gradients.
"""

from collections.abc import Callable

import jax
from common import arguments, report, timed
from flax import linen
from sbx import DQN
from sbx.dqn import policies

work, seed = arguments()


class QNetwork(linen.Module):
    """A network with the hidden layers of the work, in place of SBX's."""

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
    work.env,
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
report(
    steps=model.num_timesteps,
    updates=model._n_updates,
    loop=loop,
    returns=[episode["r"] for episode in model.ep_info_buffer],
)
