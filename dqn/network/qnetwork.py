"""The Q-network: observation, torso, head."""

from collections.abc import Callable

from torch import Tensor, nn

from dqn.network.layers import Generators, Layer
from dqn.types import Draws, EnvSpec
from dqn.value import ReturnDistribution


class QNetwork(nn.Module):
    """Observations [K, B, ...] to the return distributions of all actions [K, B, A]."""

    def __init__(
        self,
        *,
        torso: Callable[..., nn.Module],
        head: Callable[..., nn.Module],
        layer: Layer,
        spec: EnvSpec,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.obs = spec.obs
        in_shape = (self.obs.num_categories,) if self.obs.num_categories else self.obs.shape
        self.torso = torso(layer=layer, in_shape=in_shape, generators=generators)
        self.head = head(
            layer=layer,
            in_features=self.torso.out_features,
            num_actions=spec.num_actions,
            generators=generators,
        )

    def forward(self, obs: Tensor, draws: Draws | None = None) -> ReturnDistribution:
        """Return the distributions; parts that vary at random do so by `draws`, without them not at all."""
        # .forward, here and below: at this size a module's __call__ costs as much as its products
        features = self.torso.forward(self.encode(obs), draws)
        distribution: ReturnDistribution = self.head.forward(features, draws)
        return distribution

    def encode(self, obs: Tensor) -> Tensor:
        """Return what the torso reads, float32: one-hot for discrete observations, else scaled numbers."""
        if self.obs.num_categories:
            return nn.functional.one_hot(obs.long(), self.obs.num_categories).float()
        x = obs.float()
        return x if self.obs.scale == 1 else x * self.obs.scale
