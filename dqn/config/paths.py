"""The path of conf/."""

from pathlib import Path

_INSTALLED = Path(__file__).parents[1] / "conf"
CONF = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf"
