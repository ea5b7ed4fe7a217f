"""TorchRL's DQN built from its components, in the order of its example script for CartPole.

The collector yields the frames between two updates; replay is in memory, without a prefetching thread. It has
no logger and no evaluation; Gymnasium keeps the returns. The warm-up acts at random.
"""

import gymnasium
import torch
from common import arguments, report, timed
from tensordict.nn import TensorDictSequential
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import GymWrapper
from torchrl.modules import MLP, EGreedyModule, QValueActor
from torchrl.objectives import DQNLoss, HardUpdate

work, seed = arguments()
torch.manual_seed(seed)
statistics = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make(work.env), buffer_length=100)
env = GymWrapper(statistics, categorical_action_encoding=True)
env.set_seed(seed)
actor = QValueActor(
    MLP(in_features=4, out_features=2, num_cells=work.hidden_sizes, activation_class=torch.nn.ReLU),
    in_keys=["observation"],
    spec=env.action_spec,
)
exploration = EGreedyModule(
    spec=actor.spec,
    eps_init=work.epsilon_start,
    eps_end=work.epsilon_end,
    annealing_num_steps=work.epsilon_duration,
)
collector = Collector(
    env,
    TensorDictSequential(actor, exploration),
    frames_per_batch=work.train_period,
    total_frames=work.steps,
    init_random_frames=work.learning_starts,
    auto_register_policy_transforms=False,
)
memory = TensorDictReplayBuffer(storage=LazyTensorStorage(work.capacity), batch_size=work.batch_size)
loss_module = DQNLoss(actor, loss_function="smooth_l1", delay_value=True)
loss_module.make_value_estimator(gamma=work.gamma)
target = HardUpdate(loss_module, value_network_update_interval=work.target_period // work.train_period)
parameters = list(loss_module.parameters())
optimizer = torch.optim.Adam(parameters, lr=work.lr)
done = {"steps": 0, "updates": 0}


def train() -> None:
    for data in collector:
        done["steps"] += data.numel()
        memory.extend(data.reshape(-1))
        exploration.step(data.numel())
        if done["steps"] < work.learning_starts:
            continue
        loss = loss_module(memory.sample())["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, work.max_grad_norm)
        optimizer.step()
        target.step()
        done["updates"] += 1
    collector.shutdown()


loop = timed(train)
report(steps=done["steps"], updates=done["updates"], loop=loop, returns=statistics.return_queue)
