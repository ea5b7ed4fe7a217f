"""Stable-Baselines3's DQN, as its documentation uses it.

For images it gets the network of the work as a custom features extractor, as its documentation does it.
Its warm-up acts at random. It wraps the environment in its Monitor, which keeps the returns; it writes
nothing (verbose=0, no TensorBoard). Gradients are clipped to the norm of the work.
"""

import gymnasium
import torch
from common import arguments, report, timed
from stable_baselines3 import DQN
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn


class Images(BaseFeaturesExtractor):
    """Convolutions of 3x3 pixels and fully connected layers, of images with the channels last."""

    def __init__(self, space: gymnasium.spaces.Box, channels: list[int], hidden_sizes: list[int]) -> None:
        super().__init__(space, hidden_sizes[-1])
        counts = [space.shape[-1], *channels]
        layers: list[nn.Module] = []
        for count, following in zip(counts, channels, strict=False):
            layers += [nn.Conv2d(count, following, 3), nn.ReLU()]
        layers.append(nn.Flatten())
        size = nn.Sequential(*layers)(torch.zeros(1, counts[0], *space.shape[:2])).shape[1]
        for count, following in zip([size, *hidden_sizes], hidden_sizes, strict=False):
            layers += [nn.Linear(count, following), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.permute(0, 3, 1, 2))


work, seed = arguments()
network = {"net_arch": work.hidden_sizes}
if work.channels:
    from minatar.gym import register_envs

    register_envs()
    sizes = {"channels": work.channels, "hidden_sizes": work.hidden_sizes}
    network = {"net_arch": [], "features_extractor_class": Images, "features_extractor_kwargs": sizes}
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
    max_grad_norm=work.max_grad_norm,
    policy_kwargs=network,
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
