"""Scores of random play and of a human on the 26 games of Atari 100k, by which returns are normalised."""

import re
from typing import NamedTuple


class Players(NamedTuple):
    """Mean returns of whole games, by which those of different games can be compared."""

    random: float
    human: float

    def normalized(self, value: float) -> float:
        """Return the human-normalised score: 0 for the return of random play, 1 for that of the human."""
        return (value - self.random) / (self.human - self.random)


GAMES = {
    "Alien": Players(227.8, 7127.7),
    "Amidar": Players(5.8, 1719.5),
    "Assault": Players(222.4, 742.0),
    "Asterix": Players(210.0, 8503.3),
    "BankHeist": Players(14.2, 753.1),
    "BattleZone": Players(2360.0, 37187.5),
    "Boxing": Players(0.1, 12.1),
    "Breakout": Players(1.7, 30.5),
    "ChopperCommand": Players(811.0, 7387.8),
    "CrazyClimber": Players(10780.5, 35829.4),
    "DemonAttack": Players(152.1, 1971.0),
    "Freeway": Players(0.0, 29.6),
    "Frostbite": Players(65.2, 4334.7),
    "Gopher": Players(257.6, 2412.5),
    "Hero": Players(1027.0, 30826.4),
    "Jamesbond": Players(29.0, 302.8),
    "Kangaroo": Players(52.0, 3035.0),
    "Krull": Players(1598.0, 2665.5),
    "KungFuMaster": Players(258.5, 22736.3),
    "MsPacman": Players(307.3, 6951.6),
    "Pong": Players(-20.7, 14.6),
    "PrivateEye": Players(24.9, 69571.3),
    "Qbert": Players(163.9, 13455.0),
    "RoadRunner": Players(11.5, 7845.0),
    "Seaquest": Players(68.4, 42054.7),
    "UpNDown": Players(533.4, 11693.2),
}
"""The scores in dqn_zoo/atari_data.py of google-deepmind/dqn_zoo, with which papers normalise theirs."""


def players_of(env_id: str) -> Players | None:
    """Return the scores of the game of an id such as Atari/Pong-v0 or ALE/Pong-v5; None if unknown."""
    match = re.fullmatch(r"(?:Atari|ALE)/(\w+)-v\d+", env_id)
    return GAMES.get(match[1]) if match else None
