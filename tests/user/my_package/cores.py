import torch
from torch import Tensor, nn

from dqn.network import Generators, Linear
from dqn.types import PositiveInt, Probability, Rng


class Average(nn.Module):
    """Remembers a moving average of its input."""

    def __init__(
        self, *, decay: Probability, units: PositiveInt, in_features: int, generators: Generators
    ) -> None:
        super().__init__()
        self.decay = decay
        self.out_features = self.carry_size = units
        self.input = Linear(
            initializer="torch", in_features=in_features, out_features=units, generators=generators
        )

    def prepare(self, x: Tensor, rng: Rng | None) -> Tensor:
        """Return what needs no carry, for many steps at once: [K, N, in_features] to [K, N, units]."""
        return torch.tanh(self.input(x, rng))

    def forward(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
        """Return the next carry [K, B, units], given one step of `prepared`."""
        return self.decay * carry + (1 - self.decay) * prepared
