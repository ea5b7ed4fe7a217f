"""A user's package; importing it registers the environment."""

import gymnasium

gymnasium.register("Corridor-v0", "my_package.corridor:Corridor", max_episode_steps=50)
