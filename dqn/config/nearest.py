"""The keys and options that are nearest to a name that does not exist.

Names are compared with the names in conf/ and with the comments there: `agent=ddqn` is Double DQN, and
`learning_rate` is the key whose comment starts with "learning rate".
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from dqn.config.meanings import Option

ELSEWHERE = {
    "batch_size": "minibatch_size mini_batch_size",
    "capacity": "buffer_size replay_size memory_size replay_buffer_size replay_capacity",
    "duration": "exploration_steps annealing_steps decay_steps",
    "end": "exploration_final_eps end_e eps_end eps_min epsilon_end epsilon_min epsilon_final final_epsilon",
    "eval_period": "eval_freq eval_frequency eval_interval evaluate_every",
    "gamma": "discount_factor discounting",
    "hidden_sizes": "hidden_size hidden_dim hidden_dims hidden_units hidden_layers layers net_arch",
    "id": "env_id env_name gym_id environment",
    "learning_starts": "warmup warmup_steps start_steps min_replay_size replay_start_size",
    "lr": "step_size alpha",
    "max_grad_norm": "clip clip_grad grad_clip gradient_clip clip_grad_norm",
    "num_seeds": "seeds n_seeds runs",
    "start": "exploration_initial_eps start_e eps_start epsilon_start initial_epsilon",
    "target_period": "target_update target_update_interval target_update_freq target_network_frequency",
    "total_episodes": "episodes n_episodes num_episodes max_episodes epochs",
    "total_steps": "timesteps total_timesteps max_timesteps steps num_steps max_steps frames num_frames",
    "train_period": "train_freq train_frequency train_interval update_freq update_every",
    "updates_per_train": "gradient_steps utd num_updates",
    # options
    "double": "ddqn double_q",
    "dueling_double": "d3qn dueling_ddqn dueling_double_dqn double_dueling",
    "dqn": "vanilla vanilla_dqn nature",
    "nature": "cnn conv convolutional",
    "n_step": "nstep multi_step multistep",
}
"""Names here, and the names of the same things in other libraries."""

SYNONYMS = {other.replace("_", ""): name for name, others in ELSEWHERE.items() for other in others.split()}
LEAST_ALIKE = 0.75
"""Smallest ratio, as of difflib, of two names that may be the same with a typing error."""
FEWEST = 3
"""Fewest letters that choose the options whose names start with them."""
MOST = 3
"""Most suggestions for one name."""


class Nearest(NamedTuple):
    """Names that may be meant, best first."""

    names: list[str]
    is_guess: bool
    """True if only their spelling is similar."""


def letters(name: str) -> str:
    """Return a name in lower case, without anything but letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def likeness(one: str, other: str) -> float:
    """Return how alike two names are, from 0 to 1."""
    return SequenceMatcher(None, letters(one), letters(other)).ratio()


def closest(name: str, names: Iterable[str]) -> list[str]:
    """Return the names or keys whose last name may be this one with a typing error, best first."""
    alike = sorted((-likeness(name, last(one)), one) for one in names)
    return [one for unlike, one in alike if -unlike >= LEAST_ALIKE][:MOST]


def nearest_keys(key: str, tables: Sequence[Mapping[str, str]]) -> Nearest:
    """Return the keys nearest to one that does not exist; those of the same top-level node come first.

    Args:
        key: the key, with or without the key of its parent.
        tables: keys and their comments; keys of an earlier table come first.
    """
    top, dot, _ = key.partition(".")
    beside = [{one: table[one] for one in table if one.startswith(f"{top}.")} for table in tables]
    for those in (beside, tables) if dot else (tables,):
        for table in those if dot else ():
            if found := [one for one in table if f".{one}".endswith(f".{key}")]:
                return Nearest(found[:MOST], is_guess=False)
        for is_guess in (False, True):
            for table in those:
                if found := near_names(last(key), table, is_guess=is_guess):
                    return Nearest(found[:MOST], is_guess)
    return Nearest([], is_guess=True)


def near_names(name: str, table: Mapping[str, str], *, is_guess: bool) -> list[str]:
    """Return the keys whose last name or comment is near a name, by the first test that any key passes."""
    wanted = SYNONYMS.get(letters(name), name)
    if is_guess:
        words = set(name.split("_"))
        return closest(wanted, table) or [one for one in table if words <= {*last(one).split("_")}]
    same = [one for one in table if letters(last(one)) == letters(wanted)]
    if same or wanted != name:
        return same
    return [one for one in table if first_words(table[one], name) == letters(name)]


def last(key: str) -> str:
    """Return the last name of a key."""
    return key.rpartition(".")[2]


def first_words(comment: str, name: str) -> str:
    """Return the letters of the start of a comment, as long as a name such as learning_rate."""
    return letters("".join(comment.split()[: len(re.split(r"[_\W]+", name))]))


def nearest_options(group: str, name: str, options: Sequence[Option]) -> list[Option]:
    """Return the options nearest to one that its group does not have.

    An option of the group is near by its name, by a value that it sets (`env=CartPole-v1`), by the start of
    its comment or the initials there, with a typing error, or if its name is longer; others are so by name or
    comment.

    Args:
        group: the group; empty: none, the name was typed as a key.
        name: the name of an option that does not exist.
        options: the options of all groups.
    """
    there = [option for option in options if option.group == group]
    wanted = letters(SYNONYMS.get(letters(name), name))
    named: list[Callable[[Option], object]] = [
        lambda option: letters(option.name) == wanted,
        lambda option: name in [key.value for key in option.keys],
        lambda option: wanted in titles(option.about),
    ]
    for is_near in named:
        if near := [option for option in there if is_near(option)]:
            return near[:MOST]
    if alike := closest(name, [option.name for option in there]):
        return [option for one in alike for option in there if option.name == one]
    if len(wanted) >= FEWEST and (longer := [one for one in there if letters(one.name).startswith(wanted)]):
        return longer[:MOST]
    below = [option for option in options if option.group.startswith(f"{group}/")]
    for those in (below, options) if group else (options,):
        for is_near in (named[0], named[2]):
            if near := [option for option in those if is_near(option)]:
                depth = min(option.group.count("/") for option in near)
                return [option for option in near if option.group.count("/") == depth][:MOST]
    return []


def titles(about: str) -> set[str]:
    """Return the letters of the start of a comment, and of the initials there.

    The last word may stay whole: "Double DQN: ..." is doubledqn, dd and ddqn.
    """
    words = re.split(r"[:,.(;]", about)[0].split()
    initials = "".join(word[0] for word in words)
    return {letters(one) for one in ("".join(words), initials, initials[:-1] + "".join(words[-1:]))} - {""}
