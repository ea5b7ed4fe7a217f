"""Learning from images: with convolutions, and from several frames where one is not enough."""

import pytest
from helpers import make_runner

DIRECTION = [
    *("+experiment=catch", "env=base", "env.id=Direction-v0", "env.module=envs"),
    *("runner.total_steps=1500", "runner.iteration_length=1500", "runner.learning_starts=100"),
    *("runner.target_period=100", "schedule.duration=500"),
]


def evaluated(tmp_path, overrides: list[str]) -> float:
    """Return the mean return of the greedy policy after training."""
    return make_runner(tmp_path, overrides).run()


@pytest.mark.parametrize(("stack", "low", "high"), [(2, 1.0, 1.0), (1, -0.5, 0.5)])
def test_a_direction_is_learned_from_two_frames_and_not_from_one(tmp_path, stack, low, high):
    """The same stacks serve acting, replay and evaluation: with others the answers would be guesses."""
    assert low <= evaluated(tmp_path, [*DIRECTION, f"env.frame_stack={stack}"]) <= high


@pytest.mark.slow
def test_catch_is_learned(tmp_path):
    assert evaluated(tmp_path, ["+experiment=catch", "runner.total_steps=6000"]) > 0.9
