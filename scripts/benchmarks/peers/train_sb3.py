"""Stable-Baselines3's DQN, as its documentation uses it.

Its warm-up acts at random. It wraps the environment in its Monitor, which keeps the returns; it writes
nothing (verbose=0, no TensorBoard). Gradients are clipped to the norm of the work.
"""

from common import arguments, report, timed
from stable_baselines3 import DQN

work, seed = arguments()
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
    max_grad_norm=work.max_grad_norm,
    policy_kwargs={"net_arch": work.hidden_sizes},
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
