"""Finds environments in other interpreters: suites that are installed, and any environment of a user's interpreter."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from envs.choices import Choices
from envs.entry import Registration
from envs.foreign.remote import EpisodeRules, RemoteSlots
from envs.foreign.suites import Suite, find_suite, suite_names
from envs.gl_backend import choose_gl_backend
from envs.suite import joint_spec
from simscaleai.contract import EnvSpec, Needs
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.hosting.interpreters import chosen_interpreter, installed_python, locked_version
from simscaleai.hosting.live import note_hosted
from simscaleai.hosting.process import HostError, HostLost, HostProcess

HOST = Path(__file__).with_name("host.py")
_USUAL_SLOTS = 8
_FEATURE = ("name", "size", "unit", "frame")


def find_env_elsewhere(name: str) -> Registration | None:
    """Return the registration of an environment in another interpreter; None if `name` names none.

    A name that begins with that of a suite, for example "metaworld/reach-v3" or "pusht", is an environment of the
    suite. With an interpreter of --env-python, "gym:ID" and "module:factory" are found there, too. Whether a suite
    is installed is found when the environment is described or made.

    Raises:
        UnknownNameError: If the suite has no such task.
    """
    python = chosen_interpreter()
    if name.partition("/")[0] in suite_names():
        return _suite_env(name, python)
    if python is not None and ":" in name:
        return _env_of_user(name, python)
    return None


@lru_cache
def _env_of_user(name: str, python: Path) -> Registration:
    what = {"gym": name.removeprefix("gym:")} if name.startswith("gym:") else {"factory": name}
    return _Hosted(name, what, python).register()


@lru_cache
def _suite_env(name: str, python: Path | None) -> Registration:
    suite_name, _, task = name.partition("/")
    suite = find_suite(suite_name)
    if task not in (*suite.tasks, *suite.groups):
        raise UnknownNameError("environment", name, suite.environments)
    tasks = suite.groups.get(task, (task,))
    packages = {package: locked_version(suite.lock, package) for package in suite.packages}
    what = {"suite": str(suite.file), "tasks": tasks, "packages": packages}
    world = _World(_Hosted(name, what, python, suite))
    ids = tuple(f"{suite.name}/{each}" for each in tasks) if task in suite.groups else ()
    words = f"{len(ids)} tasks: {', '.join(ids)}." if ids else suite.tasks[task]
    return Registration(name, name, lambda: world.spec, world.make_slots, words, None, ids, suite.usual_slots)


@dataclass(frozen=True)
class _Hosted:
    """One environment in another interpreter."""

    name: str
    what: Mapping[str, Any]
    """What the host shall make, as its call `open` takes it."""
    python: Path | None
    """Interpreter that the user names; None for that of the installed suite."""
    suite: Suite | None = None
    choices: Choices = field(default_factory=Choices)

    @property
    def env_id(self) -> str:
        return f"{self.name}?{self.choices}" if str(self.choices) else self.name

    def register(self, choices: Choices | None = None) -> Registration:
        world = _World(replace(self, choices=choices or Choices()))
        return Registration(
            name=self.name,
            env_id=world.hosted.env_id,
            offer=lambda: world.spec,
            make=world.make_slots,
            choose=self.register,
            usual_slots=_USUAL_SLOTS,
        )

    def start(self) -> HostProcess:
        """Return a new host.

        Raises:
            SimScaleError: If the suite is not installed, or the interpreter does not start.
        """
        choose_gl_backend()
        if self.suite is None or self.python is not None:
            return HostProcess(self.python or Path(sys.executable), HOST, python_path=os.environ.get("PYTHONPATH"))
        return HostProcess(installed_python(self.suite.name, self.suite.lock), HOST)

    def open(self, host: HostProcess) -> dict[str, Any]:
        """Tell the host what to host, and return its answer.

        Raises:
            SimScaleError: If the environment cannot be made there, or is of another version than that of the lock.
            HostLost: If the host ends.
        """
        choices: dict[str, Any] = {
            "success": self.choices.success,
            "limit": self.choices.max_episode_steps,
            "keywords": self.choices.keywords,
        }
        try:
            answer, _ = host.call("open", **self.what, **choices)
        except HostError as error:
            host.close()
            raise SimScaleError(f"{self.name} cannot be evaluated: {error}") from None
        return answer

    def specify(self, answer: Mapping[str, Any]) -> EnvSpec:
        """Return the specification that the answer of a host describes."""
        ids: tuple[str, ...] = (self.env_id,)
        revision = 0
        if self.suite is not None:
            ids = tuple(f"{self.suite.name}/{task}".rstrip("/") for task in self.what["tasks"])
            revision = self.suite.revision
        parts = zip(ids, answer["descriptions"], strict=True)
        specs = [_spec(env_id, description, answer["versions"], revision) for env_id, description in parts]
        return specs[0] if len(specs) == 1 else joint_spec(self.env_id, specs)


class _World:
    """One environment in another interpreter, with the choices of a user."""

    def __init__(self, hosted: _Hosted) -> None:
        self.hosted = hosted
        self._spare: HostProcess | None = None
        """The host that has described the environment, until slots need one."""

    @cached_property
    def spec(self) -> EnvSpec:
        """What the environment offers. A host is started to find out.

        Raises:
            SimScaleError: If the environment cannot be made or represented there.
        """
        host = self.hosted.start()
        try:
            answer = self.hosted.open(host)
        except HostLost as error:
            raise SimScaleError(f"{self.hosted.name} cannot be evaluated: {error}") from None
        self._spare = host
        note_hosted(self.hosted.env_id, self._load_policy)
        return self.hosted.specify(answer)

    def make_slots(
        self, num_slots: int, needs: Needs, terminate_on_success: bool, max_episode_steps: int | None
    ) -> RemoteSlots:
        """Return `num_slots` slots in one host."""
        rules = EpisodeRules(terminate_on_success=terminate_on_success, max_episode_steps=max_episode_steps)
        return RemoteSlots(self.spec, self._open_host, num_slots, needs, rules)

    def _load_policy(self, policy: str) -> str:
        """Let the spare host load `policy`, and return a digest of its source files.

        Raises:
            SimScaleError: If it cannot be loaded.
        """
        host = self._spare = self._open_host()
        try:
            answer, _ = host.call("policy", policy=policy)
        except (HostError, HostLost) as error:
            self._spare = None
            host.close()
            raise SimScaleError(f"policy {policy!r} cannot be loaded: {error}") from None
        return str(answer["source"])

    def _open_host(self) -> HostProcess:
        if self._spare is not None:
            host, self._spare = self._spare, None
            return host
        host = self.hosted.start()
        self.hosted.open(host)
        return host


def _spec(env_id: str, description: Mapping[str, Any], versions: Mapping[str, Any], revision: int) -> EnvSpec:
    """Return the specification of one task from what the host says of it."""
    data = dict(description)
    data["vectors"] = {
        key: {
            "features": [
                dict(zip(("name", "size", "unit", "frame"), each, strict=True)) for each in layout["features"]
            ],
            "privileged": layout.get("privileged", False),
        }
        for key, layout in data["vectors"].items()
    }
    parts = json.dumps([data, versions, revision], sort_keys=True)
    digest = hashlib.sha256(parts.encode()).hexdigest()[:16]
    return EnvSpec.from_json({**data, "env_id": env_id, "digest": digest, "repeats": "unknown"})
