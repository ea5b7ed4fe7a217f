"""Data passed between the parts, and value types of the configuration.

Shape letters, used in every docstring: K seeds in lock step, E environments per seed, B batch, A actions,
N atoms or quantiles, P parameters, * any leading axes.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Finite = Annotated[float, Gt(-math.inf), Lt(math.inf)]
Positive = Annotated[float, Gt(0), Lt(math.inf)]
NotPositive = Annotated[float, Le(0), Gt(-math.inf)]
Probability = Annotated[float, Ge(0), Le(1)]
PositiveProbability = Annotated[float, Gt(0), Le(1)]
PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
AtLeastTwo = Annotated[int, Ge(2)]

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


class Image(NamedTuple):
    """The image in an observation, whose numbers may be followed by others when the observation is stored."""

    shape: tuple[int, ...]
    """(height, width), (height, width, channels) or (channels, height, width)."""
    channels_last: bool
    rest: int
    """Numbers of the observation behind those of the image; 0: it is nothing but the image."""

    @property
    def planes(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        if len(self.shape) == 2:
            channels, height, width = (1, *self.shape)
        elif self.channels_last:
            height, width, channels = self.shape
        else:
            channels, height, width = self.shape
        return channels, height, width


class ObsSpec(NamedTuple):
    """The format of one observation in memory, and how the network reads it."""

    shape: tuple[int, ...]
    """Shape of what the environment gives in one step, a frame."""
    dtype: np.dtype[Any]
    num_categories: int
    """Number of values of a discrete observation, one-hot in the network; 0 for a numeric observation."""
    scale: float
    """The network reads obs * scale: 1/255 for bytes that span 0 to 255, unless env.scale_bytes is false."""
    stack: int = 1
    """Successive frames that the network reads together, the newest last; memory stores each frame once."""
    image: Image | None = None
    padding_bytes: bytes = b""
    """The memory of `padding`; empty: zeros."""

    @property
    def padding(self) -> Array | int:
        """Return the frame before the first of an episode: zeros, or the nearest that the space allows."""
        return np.frombuffer(self.padding_bytes, self.dtype).reshape(self.shape) if self.padding_bytes else 0

    @property
    def stacked_shape(self) -> tuple[int, ...]:
        """Return the shape of an observation in acting and learning: [stack, ...] if frames are stacked."""
        return self.shape if self.stack == 1 else (self.stack, *self.shape)

    @property
    def encoded_shape(self) -> tuple[int, ...]:
        """Return the shape of an observation as the torso reads it.

        Images have their channels first, (stack * C, H, W). With further numbers they are flat, the images of
        all frames before the further numbers of all.
        """
        if self.num_categories:
            return (self.num_categories,) if self.stack == 1 else (self.stack, self.num_categories)
        if self.image is None:
            return self.stacked_shape
        if self.image.rest:
            return (math.prod(self.stacked_shape),)
        channels, *size = self.image.planes
        return (self.stack * channels, *size)


class EnvSpec(NamedTuple):
    """The facts about an environment that other parts need."""

    obs: ObsSpec
    num_actions: int
    time_limit: int | None
    """Steps after which an episode is truncated; None: without a limit."""
    has_mask: bool = False
    """True if a mask says of each state which of its actions are valid."""


class Row(NamedTuple):
    """One step of all environments of all seeds, NumPy arrays [K, E, ...]."""

    obs: Array
    action: Integers
    reward: Floats
    """Reward used for learning: clipped, then scaled."""
    next_obs: Array
    """The observation that the step returned, before any reset."""
    terminated: Bools
    truncated: Bools
    life_lost: Bools
    """True where the step cost a life after which the episode continues, but what is learned terminates."""
    active: Bools
    """False where the environment waits for others; such a column is not stored."""
    carry: Floats | None = None
    """The recurrent network's carry before the step [K, E, carry_size]; None unless memory stores it."""
    mask: Bools | None = None
    """Valid actions at obs [K, E, A]; None if all always are."""
    next_mask: Bools | None = None
    """Valid actions at next_obs [K, E, A]."""


Role = Literal["prediction", "target", "action", "acting"]
"""The use of a network's output.

In an update: the predicted return, the target return, or the policy's action in the target. In acting: the
action to take now, for one observation of each environment.
"""


class Rng(Protocol):
    """Random numbers of every seed, for networks that need some."""

    @property
    def role(self) -> Role: ...

    def normal(self, size: int) -> "Tensor":
        """Return standard normal numbers [K, size]."""

    def uniform(self, *shape: int) -> "Tensor":
        """Return numbers in [0, 1), [K, *shape]."""


class Window(NamedTuple):
    """The parts of a batch that windows of successive steps add, for recurrent networks.

    A window learns from T transitions of an episode; the observations of its burn-in come before them. Its
    transitions are those of the batch [K, T * B], step by step.
    """

    following: "Tensor"  # [K, T * B], int64, index of each next observation among T + 1 steps of B windows
    share: "Tensor"  # [K, T * B], weight in the mean over steps: 0 for those after the episode's end
    exists: "Tensor | None"  # [K, burn_in, B], 0 for steps before the episode's first; None without burn-in
    carry: "Tensor | None"  # [K, B, carry_size], stored when the first step was played; None: zeros
    previous: "Tensor | None"  # [K, burn_in + T + 1, B, A + 1], previous action one-hot, and its reward


class Batch(NamedTuple):
    """A sample of transitions for every seed."""

    obs: "Tensor"  # [K, B, ...]; of windows [K, burn_in + T + 1, B, ...], every step once
    action: "Tensor"  # [K, B], int64
    reward: "Tensor"  # [K, B], sum of gamma^i r_i over the n steps
    discount: "Tensor"  # [K, B], gamma^m after m steps; 0 where the episode terminated
    next_obs: "Tensor | None"  # [K, B, ...]; None for windows, whose `obs` has them
    mask: "Tensor | None" = None  # [K, B, A], bool: valid actions at obs; None if all always are
    next_mask: "Tensor | None" = None  # [K, B, A], valid actions at next_obs
    window: Window | None = None

    def tensors(self) -> "list[Tensor]":
        """Return all tensors, in order."""
        own = (*self[:-1], *(self.window or ()))
        return [field for field in own if field is not None]

    def filled(self, tensors: "Iterable[Tensor]") -> "Batch":
        """Return this batch with other tensors, in the order of `tensors()`."""
        each = iter(tensors)

        def fill(fields: Iterable[Any]) -> list[Any]:
            return [None if field is None else next(each) for field in fields]

        return Batch(*fill(self[:-1]), *[self.window and Window(*fill(self.window))])


class NetworkSpec(NamedTuple):
    """The facts about a network that memory needs."""

    carry_size: int
    """Numbers that a recurrent network remembers of an episode; 0: the network is not recurrent."""
    sees_action: bool
    """Whether it reads the previous action and reward."""


FEED_FORWARD = NetworkSpec(carry_size=0, sees_action=False)


class Sample(NamedTuple):
    """A batch from memory, with its weights and, for new priorities, its row indices."""

    batch: Batch
    weight: "Tensor"  # [K, B], factor of each transition's loss; 1 if all are equally likely
    row: Integers  # [K, B], index of the row where each transition starts


class Position(NamedTuple):
    """The progress of one seed."""

    step: int
    """Steps of all its environments together."""
    episode: int
    update: int


class Episode(NamedTuple):
    """An episode that ended."""

    seed_index: int  # 0 to K - 1
    env_index: int  # 0 to E - 1
    at: Position
    episode_return: float  # undiscounted, of raw rewards
    length: int  # steps


class Update(NamedTuple):
    """The results of one update, for each seed."""

    priority: Floats  # [K, B], size of each prediction's error; of windows [K, T * B]
    loss: Floats  # [K], mean over the batch
    q: Floats  # [K], mean value of the taken actions
    grad_norm: Floats  # [K], Euclidean norm before clipping
