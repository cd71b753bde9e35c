"""Interpreters with packages of their own: virtual environments from lock files, in the user's data folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simscaleai.errors import SimScaleError
from simscaleai.files import locked, replace_file
from simscaleai.json_data import parse_json

HOME_VARIABLE = "SIMSCALE_HOME"
"""Environment variable with the folder for what is installed, instead of the user's data folder."""

PYTHON_VARIABLE = "SIMSCALE_ENV_PYTHON"
"""Environment variable with the interpreter for environments of others; --env-python sets it, so workers see it."""

_REPORT = "simscale.json"
_LOCK_DIGEST = "simscale.lock-digest"
_UNFINISHED = ".unfinished"
_INSTALL = "python -m envs install"

PLATFORM_PACKAGES = ("torch",)
"""Packages that depend on others which differ between platforms, such as the libraries of a GPU. No lock file names
these."""


def data_folder() -> Path:
    """Return the folder for what is installed; it may not exist yet."""
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "simscale"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "simscale"


def installed_python(name: str, lock: Path, command: str = _INSTALL) -> Path:
    """Return the interpreter of the virtual environment `name`, installed from the file `lock`.

    Args:
        name: Name of the environment.
        lock: The lock file.
        command: Command that installs it, for messages.

    Raises:
        SimScaleError: If it is not installed, or was installed from another lock file.
    """
    folder = _folder(name)
    if not folder.is_dir():
        raise SimScaleError(f"{name} is not installed; install it with: {command} {name}")
    if _read(folder / _LOCK_DIGEST) != _digest(lock):
        raise SimScaleError(
            f"{name} was installed by another version of this project, with other packages; install it again with: "
            f"{command} {name}"
        )
    return folder / "bin" / "python"


def is_installed(name: str, lock: Path) -> bool:
    """Return whether the virtual environment `name` is installed from the file `lock`."""
    return _read(_folder(name) / _LOCK_DIGEST) == _digest(lock)


def choose_interpreter(python: Path) -> None:
    """Let environments of others run in the interpreter `python`, in this process and its workers.

    Raises:
        SimScaleError: If there is no such program.
    """
    named = python.expanduser()
    found = shutil.which(named.absolute()) or shutil.which(named)  # a path has lost its leading "./" by now
    if found is None:
        raise SimScaleError(f"expected --env-python with a Python interpreter, got {python}")
    os.environ[PYTHON_VARIABLE] = str(Path(found).absolute())


def chosen_interpreter() -> Path | None:
    """Return the interpreter of `choose_interpreter`; None for none."""
    python = os.environ.get(PYTHON_VARIABLE)
    return Path(python) if python else None


def find_python(versions: Sequence[str]) -> Path:
    """Return a Python of one of `versions`, for example ("3.11", "3.12"); the first one that is found.

    Raises:
        SimScaleError: If there is none.
    """
    for version in versions:
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            return Path(sys.executable)
        for candidate in _candidates(version):
            if _version(candidate) == version:
                return candidate
    wanted = " or ".join(versions)
    raise SimScaleError(
        f"expected a Python {wanted}, found none; install one so that `python{versions[0]}` starts it, for example "
        f"with `uv python install {versions[0]}` or `pyenv install {versions[0]}`"
    )


def install(name: str, lock: Path, python: Path, say: Callable[[str], None]) -> None:
    """Create the virtual environment `name` with the packages of the file `lock`. It replaces an earlier one.

    Whatever happens, the folder of the environment holds the earlier state, nothing, or all packages.

    Args:
        name: Name of the environment.
        lock: File with one `package==version` a line, dependencies included.
        python: Interpreter to use.
        say: Gets a line of text before each part of the work.

    Raises:
        SimScaleError: If packages cannot be installed; the text ends with the last line of the installer.
        OSError: If the data folder cannot be written to.
    """
    folder = _folder(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(folder) as temporary:
        say(f"creating a virtual environment with {python}")
        _run(name, [str(python), "-m", "venv", str(temporary)])
        say(f"installing {_count(lock)} packages of {lock.name}")
        pip = [str(temporary / "bin" / "python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        for package in PLATFORM_PACKAGES:
            if version := locked_version(lock, package):
                _run(name, [*pip, "--constraint", str(lock), f"{package}=={version}"])
        _run(name, [*pip, "--no-deps", "--requirement", str(lock)])
        (temporary / _LOCK_DIGEST).write_text(_digest(lock))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)


def uninstall(name: str) -> None:
    """Remove the virtual environment `name` if it exists."""
    shutil.rmtree(_folder(name), ignore_errors=True)


def write_report(name: str, report: dict[str, Any]) -> None:
    """Keep `report`, JSON data about the installed environment `name`, beside its packages."""
    replace_file(_folder(name) / _REPORT, json.dumps(report, indent=2) + "\n")


def read_report(name: str) -> dict[str, Any]:
    """Return what `write_report` has kept; an empty dictionary if there is nothing, or it is damaged."""
    try:
        report = parse_json(_read(_folder(name) / _REPORT))
    except (ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}


def locked_version(lock: Path, package: str) -> str | None:
    """Return the version of `package` in the file `lock`; None if the file does not name it."""
    pins = dict(line.partition("==")[::2] for line in lock.read_text().splitlines())
    return {name.strip().lower(): version.strip() for name, version in pins.items()}.get(package.lower())


def _folder(name: str) -> Path:
    return data_folder() / "interpreters" / name


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Yield a folder beside `folder` that is removed at the end, also one that a killed process has left."""
    temporary = folder.with_name(f".{folder.name}{_UNFINISHED}")
    with locked(folder.parent):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _run(name: str, command: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise SimScaleError(f"cannot install {name}: {command[0]} does not start ({error.strerror})") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or [f"exit code {done.returncode}"]
        raise SimScaleError(f"cannot install {name}, and nothing of it is left behind: {errors[-1]}")


def _candidates(version: str) -> Iterator[Path]:
    """Yield interpreters that may be of `version`: on the path, then those of pyenv and uv."""
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    places = (Path.home() / ".pyenv" / "versions", data_folder().parent / "uv" / "python")
    for place in places:
        yield from sorted(place.glob(f"*{version}*/bin/python{version}"))


def _version(python: Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _count(lock: Path) -> int:
    return sum("==" in line for line in lock.read_text().splitlines())
