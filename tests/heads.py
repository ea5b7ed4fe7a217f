"""Partial constructors of every head, with small numbers, and of a noisy layer."""

from functools import partial

from dqn.network import CategoricalHead, ExpectedHead, ImplicitQuantileHead, Noisy, QuantileHead

HEADS = {
    "expected": partial(ExpectedHead, huber_delta=1.0),
    "categorical": partial(CategoricalHead, num_atoms=7, v_min=-2.0, v_max=4.0),
    "quantile": partial(QuantileHead, num_quantiles=5, huber_delta=1.0),
    "implicit_quantile": partial(
        ImplicitQuantileHead,
        num_samples=6,
        num_target_samples=4,
        num_action_samples=8,
        num_cosines=9,
        huber_delta=1.0,
    ),
}
NOISY = partial(Noisy, sigma=0.5)
