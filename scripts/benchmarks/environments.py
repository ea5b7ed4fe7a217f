"""The peers, each in a separate virtual environment below a cache folder."""

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path(__file__).parent / "peers"


class Peer(NamedTuple):
    """A library to compare with."""

    name: str
    key: str
    """Name of its environment and of its requirements, peers/KEY.txt."""
    train: str = ""
    """Program in peers/ that trains with it."""
    replay: str = ""
    """Program in peers/ that measures its replay memory."""

    @property
    def requirements(self) -> Path:
        return PROGRAMS / f"{self.key}.txt"


SB3 = Peer("stable-baselines3", "sb3", train="train_sb3.py", replay="replay_sb3.py")
TIANSHOU = Peer("Tianshou", "tianshou", train="train_tianshou.py")
TORCHRL = Peer("TorchRL", "torchrl", train="train_torchrl.py")
SBX = Peer("SBX", "sbx", train="train_sbx.py")
CPPRB = Peer("cpprb", "cpprb", replay="replay_cpprb.py")
PEERS = (SB3, TIANSHOU, TORCHRL, SBX, CPPRB)


def python_of(peer: Peer, cache: Path) -> Path | None:
    """Return the interpreter of a peer's environment; create the environment where it is missing or outdated.

    If the peer cannot be installed, print the reason and return None.
    """
    folder = cache.absolute() / peer.key
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    required = peer.requirements.read_text()
    if stamp.exists() and stamp.read_text() == required:
        return python
    print(f"installing {peer.name} into {folder}", flush=True)
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(peer.requirements)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{peer.name} is left out: it cannot be installed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    stamp.write_text(required)
    return python


def versions_of(python: Path) -> dict[str, str]:
    """Return the packages of an environment and their versions."""
    listing = [str(python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    done = subprocess.run(listing, capture_output=True, text=True, check=True)
    return {package["name"]: package["version"] for package in json.loads(done.stdout)}
