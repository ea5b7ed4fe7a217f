"""The command doctor: what this machine and this installation lack. Its output has no secrets.

It starts with the standard library alone, because any other package may be what is missing.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

import dqn
from dqn import system
from dqn.errors import NAME, install, one_line, printable
from dqn.version import __version__

ROOT = Path(dqn.__file__).parents[1]
"""The checkout, if the package is imported from one."""
STRANGER = "dqn"
"""A distribution of the registry that has this package's name, but is another project."""
FOR_DEVELOPERS = ("dev", "docs")
LEAST_MEMORY, LEAST_DISK = 2e9, 1e9
"""Bytes below which a note says that there are few."""


class Finding(NamedTuple):
    """A line of the output."""

    state: Literal["OK", "note", "problem"]
    subject: str
    text: str

    def __str__(self) -> str:
        text = self.text.replace(str(Path.home()), "~")
        return printable(f"{self.state:<8} {self.subject:<12} {text}")


Findings = Iterator[Finding]


def doctor() -> None:
    """Run `python scripts/doctor.py`: print a line for each check; exit with 1 if one is a problem."""
    argparse.ArgumentParser(description="Check this installation and this machine.").parse_args()
    findings = []
    for check in CHECKS:
        for finding in findings_of(check):
            print(finding, flush=True)
            findings.append(finding)
    problems = [one.subject for one in findings if one.state == "problem"]
    print(f"problems: {', '.join(problems)}" if problems else "no problems were found")
    sys.exit(1 if problems else 0)


def findings_of(check: Callable[[], Findings]) -> Findings:
    """Yield the findings of a check; an error in it is a problem too."""
    try:
        yield from check()
    except Exception as error:  # a damaged installation may raise anything
        yield Finding("problem", check.__name__.replace("_", " "), one_line(error))


def python() -> Findings:
    from packaging.specifiers import SpecifierSet

    allowed, version = project()["requires-python"], platform.python_version()
    fits = SpecifierSet(allowed).contains(version)
    where = f"{version}, {sys.executable}"
    yield Finding("OK" if fits else "problem", "Python", where if fits else f"{where}: should be {allowed}")
    text = platform.platform()
    if system.is_tested():
        yield Finding("OK", "system", text)
    else:
        yield Finding("note", "system", f"{text}; only Linux is tested")


def project() -> dict[str, Any]:
    """Return the project table of pyproject.toml, or what the installed distribution says of it."""
    file = ROOT / "pyproject.toml"
    if file.is_file():
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        return table
    about, requires = metadata.metadata(NAME), metadata.requires(NAME) or []
    extras = dict.fromkeys(about.get_all("Provides-Extra") or (), requires)
    return {
        "requires-python": about["Requires-Python"],
        "dependencies": requires,
        "optional-dependencies": extras,
    }


def package() -> Findings:
    here = next((one for one in (Path.cwd(), *Path.cwd().parents) if is_checkout(one)), None)
    where = f"dqn {__version__}, imported from {ROOT}"
    fix = 'pip install -c constraints.txt -e "."'
    if here is not None and here != ROOT:
        yield Finding("problem", "package", f"{where}, not from this checkout, {here}; here: {fix}")
    else:
        yield Finding("OK", "package", where)
    names = {one.metadata["Name"] for one in metadata.distributions()}
    if NAME not in names:
        yield Finding("problem", "package", f"not installed in this Python: {fix}")
    if STRANGER in names:
        text = f"the distribution `{STRANGER}` is another project: pip uninstall {STRANGER}"
        yield Finding("problem", "package", f"{text}, then {fix}")


def is_checkout(folder: Path) -> bool:
    file = folder / "pyproject.toml"
    return file.is_file() and f'name = "{NAME}"' in file.read_text(encoding="utf-8", errors="replace")


def packages() -> Findings:
    """Yield the required packages, then the extras."""
    table = project()
    versions, wrong = examined(table["dependencies"], "")
    yield Finding("OK", "packages", ", ".join(versions))
    if wrong:
        yield Finding("problem", "packages", f"{', '.join(wrong)}: pip install -c constraints.txt -e .")
    for extra, requires in table["optional-dependencies"].items():
        if extra not in FOR_DEVELOPERS:
            versions, wrong = examined(requires, extra)
            text = f"{', '.join(wrong)}: {install(extra)}" if wrong else ", ".join(versions)
            yield Finding("note" if wrong else "OK", f"[{extra}]", text)


def examined(requires: list[str], extra: str) -> tuple[list[str], list[str]]:
    """Return the versions of the packages that an extra needs, and which are missing or too old or new."""
    from packaging.requirements import Requirement

    versions: list[str] = []
    wrong: list[str] = []
    for one in map(Requirement, requires):
        if one.marker and not one.marker.evaluate({"extra": extra}):
            continue
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is not installed")
            continue
        fits = one.specifier.contains(version, prereleases=True)
        text = f"{one.name} {version}"
        (versions if fits else wrong).append(text if fits else f"{text} should be {one.specifier}")
        for inner in one.extras:
            wrong += examined(metadata.requires(one.name) or [], inner)[1]
    return versions, wrong


def devices() -> Findings:
    import torch

    from dqn.devices import absence

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    processor = torch.backends.cpu.get_cpu_capability()
    yield Finding("OK", "torch", f"{torch.__version__} ({build}), {processor}")
    if should := absence("cuda"):
        driver = f", although an NVIDIA driver is installed: device {should}"
        has_driver = shutil.which("nvidia-smi") is not None
        yield Finding("note" if has_driver else "OK", "cuda", f"not available{driver * has_driver}")
    else:
        for i in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(i)
            yield Finding("OK", f"cuda:{i}", f"{about.name}, {about.total_memory / 1e9:.0f} GB")
    if absence("mps") is None:
        yield Finding("note", "mps", "available; device=mps was not tried")


def compiler() -> Findings:
    import torch

    from dqn.agent.compile_cache import obstacle

    problem = obstacle(torch.device("cpu"))
    text = f"{problem}; only agent.compile needs it" if problem else str(system.find_compiler())
    yield Finding("note" if problem else "OK", "compiler", text)


def processors() -> Findings:
    cores, usable = os.cpu_count() or 1, system.usable_cores()
    yield Finding("OK", "cores", f"{cores}, of which this process may use {usable:g}")
    memory, files = system.machine_memory(), system.most_open_files()
    if memory < sys.maxsize:
        few = memory < LEAST_MEMORY
        text = f"{memory / 1e9:.1f} GB for this process" + "; memory.capacity may have to be smaller" * few
        yield Finding("note" if few else "OK", "memory", text)
    yield Finding("OK", "open files", "no limit" if files == sys.maxsize else f"at most {files}")


def run_folders() -> Findings:
    """Check that outputs/, or this folder, takes the files of a run."""
    import filelock

    from dqn.storage.durable_files import write_json

    outputs = Path("outputs") if Path("outputs").is_dir() else Path.cwd()
    free = shutil.disk_usage(outputs).free
    few = free < LEAST_DISK
    text = f"{free / 1e9:.1f} GB free in {outputs.absolute()}" + "; a checkpoint may not fit" * few
    yield Finding("note" if few else "OK", "disk", text)
    try:
        with tempfile.TemporaryDirectory(dir=outputs) as name, filelock.FileLock(Path(name) / ".lock"):
            write_json(Path(name) / "status.json", {})
    except (OSError, NotImplementedError) as error:
        advice = "choose another hydra.run.dir"
        yield Finding("problem", "run folders", f"cannot be written or locked ({one_line(error)}); {advice}")
        return
    yield Finding("OK", "run folders", "can be written, locked and synced")


def terminal() -> Findings:
    encoding = sys.stdout.encoding or "unknown"
    kind = f"TERM={os.environ.get('TERM', '')}" if sys.stdout.isatty() else "no terminal, so no progress bar"
    yield Finding("OK", "output", f"{kind}, {shutil.get_terminal_size().columns} columns, {encoding}")
    if encoding.lower().replace("-", "") != "utf8":
        yield Finding("note", "output", f"{encoding} lacks some characters, which are printed as escapes")


def configuration() -> Findings:
    """Compose and check the default experiment, which imports everything that training does."""
    from dqn.config.compose import compose
    from dqn.config.preflight import resolved
    from dqn.config.validate import check

    check(resolved(compose([]).config)).raise_if_any()
    yield Finding("OK", "default run", "its configuration composes and is valid")


CHECKS: tuple[Callable[[], Findings], ...] = (
    *(python, package, packages, devices, compiler, processors, run_folders, terminal, configuration),
)
