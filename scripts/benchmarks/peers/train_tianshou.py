"""Tianshou's DQN with its procedural interface: a collector, a replay buffer, an off-policy trainer.

It has no test collector, no progress bar and no logger, so it writes nothing; Gymnasium keeps the
returns. The warm-up acts at random. Its DQN does not clip gradients; its target period counts updates.
"""

import gymnasium
import numpy as np
import torch
from common import arguments, report, timed
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net

work, seed = arguments()
np.random.seed(seed)  # noqa: NPY002  (its exploration draws from the global generator)
torch.manual_seed(seed)
env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make(work.env), buffer_length=100)
envs = DummyVectorEnv([lambda: env])
envs.seed(seed)
net = Net(state_shape=(4,), action_shape=2, hidden_sizes=work.hidden_sizes)
policy = DiscreteQLearningPolicy(
    model=net,
    action_space=env.action_space,
    observation_space=env.observation_space,
    eps_training=work.epsilon_start,
)
algorithm = DQN(
    policy=policy,
    optim=AdamOptimizerFactory(lr=work.lr),
    gamma=work.gamma,
    target_update_freq=work.target_period // work.train_period,
    is_double=False,
    huber_loss_delta=1.0,
)
collector = Collector(algorithm, envs, VectorReplayBuffer(work.capacity, 1), exploration_noise=True)
warm_up = work.learning_starts - work.train_period  # the first training then sees learning_starts steps
done = {"steps": 0, "updates": 0}


def set_epsilon(_epoch: int, step: int) -> None:
    """Set epsilon before each collection, as the trainer's training_fn; `step` excludes the warm-up."""
    share = min((warm_up + step) / work.epsilon_duration, 1.0)
    policy.set_eps_training(work.epsilon_start + share * (work.epsilon_end - work.epsilon_start))


def train() -> None:
    collector.reset()
    collected = collector.collect(n_step=warm_up, random=True)
    steps = work.steps - warm_up
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=steps,
            collection_step_num_env_steps=work.train_period,
            update_step_num_gradient_steps_per_sample=1 / work.train_period,
            batch_size=work.batch_size,
            training_fn=set_epsilon,
            show_progress=False,
            verbose=False,
        )
    )
    done["steps"] = collected.n_collected_steps + result.train_step
    done["updates"] = result.update_step


loop = timed(train)
report(steps=done["steps"], updates=done["updates"], loop=loop, returns=env.return_queue)
