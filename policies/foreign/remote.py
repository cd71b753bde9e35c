"""Policies of other libraries, each in a process under the interpreter that has the library."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from policies.base import Chunks, EnvSpec, Observation, Policy, PolicyUnavailable, Slots
from policies.foreign.libraries import Fit, Library
from policies.options import EXECUTION_OPTIONS, check_execution, with_execution
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.hosting.interpreters import installed_python, is_installed
from simscaleai.hosting.process import HostError, HostLost, HostProcess

HOST = Path(__file__).with_name("host.py")
INSTALL = "python -m policies install"
PYTHON = "python"
"""Option that names the interpreter. It is no part of the policy: the versions of its packages are."""
_ACT = 0
"""Code of the signal that asks for actions."""

Result = TypeVar("Result")


class RemotePolicy(Policy):
    """A policy in a host. If the host ends or is killed, the next episode starts a new one."""

    def __init__(
        self,
        host: HostProcess,
        start: Callable[[], HostProcess],
        fit: Fit,
        chunk_shape: tuple[int, int],
        identity: str,
        options: Mapping[str, Any],
    ) -> None:
        """Take over `host`, which has loaded the policy.

        Args:
            host: The host.
            start: Returns another host that has loaded the policy.
            fit: How the policy fits the environment.
            chunk_shape: Number of actions of a chunk, and numbers of an action.
            identity: Digest of the policy.
            options: Policy options, as recorded.
        """
        self.needs, self.identity, self.options = fit.needs, identity, options
        self._keys, self._start, self._chunk_shape = fit.keys, start, chunk_shape
        self._host: HostProcess | None = host
        self._shared: Observation = {}
        self._rows = 0
        """Number of rows of the shared arrays."""

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Begin an episode in each of `slots`."""
        if self._host is None:
            self._restart()
        values = {"slots": slots.tolist(), "seeds": list(seeds), "instructions": list(instructions)}
        self._attempt(lambda host: host.call("begin", **values))

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the next actions of each slot, float32 (n, H, A)."""
        rows = len(slots)
        if rows > self._rows:
            self._share(rows)
        self._shared["slots"][:rows] = slots
        for name, key in self._keys.items():
            self._shared[_input(name)][:rows] = observation[key]
        self._attempt(lambda host: host.signal(_ACT, rows))
        return self._shared["chunks"][:rows].copy()

    def close(self) -> None:
        """End the host."""
        if self._host is not None:
            self._host.close()
            self._host = None

    def _restart(self) -> None:
        try:
            self._host, self._rows = self._start(), 0
        except (SimScaleError, HostLost) as error:  # the policy was there when the run began
            raise PolicyUnavailable(str(error)) from None

    def _share(self, rows: int) -> None:
        """Share arrays of this many rows with the host."""
        vectors, cameras = self.needs.vectors, self.needs.cameras
        layout: list[list[Any]] = [["slots", "int64", [rows]], ["chunks", "float32", [rows, *self._chunk_shape]]]
        for name, key in self._keys.items():
            form = ["float32", [rows, vectors[key].size]] if key in vectors else ["uint8", [rows, *cameras[key], 3]]
            layout.append([_input(name), *form])
        inputs = {name: _input(name) for name in self._keys}
        self._shared = self._attempt(lambda host: host.share(layout, inputs=inputs))
        self._rows = rows

    def _attempt(self, call: Callable[[HostProcess], Result]) -> Result:
        """Call the host. `RuntimeError` is an exception of the policy; `PolicyUnavailable`, a fault of the host."""
        if self._host is None:
            raise PolicyUnavailable("the host of the policy has ended")
        try:
            return call(self._host)
        except HostLost as error:
            self._host = None
            raise PolicyUnavailable(str(error)) from None
        except HostError as error:
            kind = RuntimeError if error.kind == "policy" else PolicyUnavailable
            raise kind(str(error)) from None


def _input(name: str) -> str:
    """Return the name of the shared array for the input `name` of the policy."""
    return f"input.{name}"


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A policy that a host can load."""

    name: str
    """What the user typed."""
    library: Library
    path: Path
    options: Mapping[str, Any]
    """Values of the options of the library."""
    python: Path
    python_path: str | None

    def open(self) -> tuple[HostProcess, dict[str, Any]]:
        """Return a host that has loaded the policy, and what the host says of it.

        Raises:
            SimScaleError: If the interpreter does not start, or the policy cannot be loaded.
            HostLost: If the host ends.
        """
        host = HostProcess(self.python, HOST, python_path=self.python_path)
        try:
            where, _ = host.call("open", library=self.library.name)
            loaded, _ = host.call("load", path=str(self.path), options=dict(self.options))
        except HostError as error:
            host.close()
            raise SimScaleError(f"{self.name} cannot be evaluated: {error}") from None
        return host, {**where, **loaded}

    def identity(self, answer: Mapping[str, Any]) -> str:
        """Return a digest of the files of the policy, wherever they lie, and of the versions of its packages."""
        digest = hashlib.sha256(json.dumps([answer["python"], answer["versions"]], sort_keys=True).encode())
        named = [Path(self.options[name]) for name in self.library.file_options if self.options[name]]
        for place in (self.path, *named):
            for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
                if file.is_file():
                    digest.update(f"{file.relative_to(place).as_posix()} {_digest(file)}\n".encode())
        return digest.hexdigest()


def remote_policy(library: Library, place: str, spec: EnvSpec, options: Mapping[str, Any]) -> RemotePolicy:
    """Load the policy in the file or folder `place` for the environment that `spec` describes.

    Args:
        library: The library that made it.
        place: What the user typed.
        spec: What the environment offers.
        options: Values of options by name.

    Raises:
        UnknownNameError: If there is no such option.
        SimScaleError: If there is no policy, the library is not installed, or the policy cannot be loaded completely.
        MismatchError: If the policy does not fit the environment.
    """
    name, path, own = f"{library.name}:{place}", library.locate(place).absolute(), _own_options(library, options)
    python, python_path = _interpreter(library, options.get(PYTHON))
    source = _Source(name=name, library=library, path=path, options=own, python=python, python_path=python_path)
    try:
        host, answer = source.open()
    except HostLost as error:
        raise SimScaleError(f"{name} cannot be evaluated: {error}") from None
    try:
        fit = library.fit(answer["facts"], spec)
        chosen = with_execution(fit.options, {key: options[key] for key in EXECUTION_OPTIONS if key in options})
        _check_steps(name, chosen, answer["facts"]["horizon"])
        recorded = {key: value for key, value in own.items() if value != ""} | chosen
        chunk_shape = (answer["facts"]["horizon"], spec.action.size)
        return RemotePolicy(host, lambda: source.open()[0], fit, chunk_shape, source.identity(answer), recorded)
    except BaseException:
        host.close()
        raise


def check_library(library: Library) -> list[tuple[str, str]]:
    """Let the installed library make a policy and ask it; return what was found.

    Raises:
        SimScaleError: If it does not work.
    """
    try:
        with closing(HostProcess(installed_python(library.name, library.lock, INSTALL), HOST)) as host:
            where, _ = host.call("open", library=library.name)
            found, _ = host.call("check")
    except (HostLost, HostError) as error:
        raise SimScaleError(f"{library.name} does not work: {error}") from None
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items() if version)
    return [("Packages", f"{versions}, Python {where['python']}"), *((row[0], row[1]) for row in found["rows"])]


def _own_options(library: Library, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each option of the library."""
    known = [*library.options, PYTHON, *EXECUTION_OPTIONS]
    for name in options:
        if name not in known:
            raise UnknownNameError("policy option", name, known)
    values = {name: _typed(name, options.get(name, default), default) for name, default in library.options.items()}
    for name in library.file_options:
        if values[name]:
            values[name] = str(_existing(name, values[name]))
    return values


def _typed(name: str, value: Any, default: Any) -> Any:
    """Return `value` as a value of the type of `default`, a bool or a text."""
    if isinstance(default, bool):
        value = {"true": True, "false": False}.get(str(value).lower(), value)
    if type(value) is not type(default):
        kind = "true or false" if isinstance(default, bool) else "a text"
        raise SimScaleError(f"expected the policy option {name} as {kind}, got {value!r}")
    return value


def _existing(name: str, file: str) -> Path:
    path = Path(file).expanduser().absolute()
    if not path.is_file():
        raise SimScaleError(f"expected a file for the policy option {name}, got {file}")
    return path


def _interpreter(library: Library, chosen: Any) -> tuple[Path, str | None]:
    """Return the interpreter to use, and its PYTHONPATH.

    That is what the user names, that of the installed library, or this one if it has the library.
    """
    python_path = os.environ.get("PYTHONPATH")
    if chosen is not None:
        found = shutil.which(Path(str(chosen)).expanduser())
        if found is None:
            raise SimScaleError(f"expected the policy option {PYTHON} with a Python interpreter, got {chosen}")
        return Path(found).absolute(), python_path
    if not is_installed(library.name, library.lock) and _is_here(library.module):
        return Path(sys.executable), python_path
    return installed_python(library.name, library.lock, INSTALL), None


def _is_here(module: str) -> bool:
    """Return whether this interpreter has the module. A folder of this name, for example of datasets, is none."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None


def _check_steps(name: str, options: Mapping[str, Any], horizon: int) -> None:
    check_execution(options)
    steps = options.get("n_action_steps") or 1
    if steps > horizon:
        raise SimScaleError(f"expected n_action_steps of at most {horizon}, as many as {name} predicts; got {steps}")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
