"""MiniGrid's environments: importing it registers them (`env=minigrid env.id=MiniGrid-DoorKey-5x5-v0`)."""

import gymnasium

try:
    import minigrid.core.constants  # noqa: F401
except ImportError as error:
    raise gymnasium.error.DependencyNotInstalled(str(error)) from None
