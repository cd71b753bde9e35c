"""`Choices`, what a user decides about an environment of others: its success rule, time limit and keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from simscaleai.errors import SimScaleError
from simscaleai.extensions.loading import typed_value

_SUCCESS, _LIMIT = "success", "max_episode_steps"


@dataclass(frozen=True)
class Choices:
    """Decisions about one environment. They are part of its id, so that the id alone makes the same environment.

    As text they are a query: "success=return>=-200&max_episode_steps=100&g=9.8".
    """

    success: str | None = None
    """Rule for the success of an episode; None if the user named none."""
    max_episode_steps: int | None = None
    """Time limit in control steps; None for that of the environment."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Keyword arguments of the environment, as typed."""

    @classmethod
    def parse(cls, query: str) -> Choices:
        """Read choices from a query, the text after "?" in the id of an environment.

        Raises:
            SimScaleError: If a part has no value, or the time limit is no number.
        """
        values: dict[str, str] = {}
        for part in query.split("&") if query else ():
            name, equals, value = part.partition("=")
            if not (name and equals) or name in values:
                raise SimScaleError(f"expected name=value once for each name after '?', got {query!r}")
            values[unquote(name)] = unquote(value)
        success, limit = values.pop(_SUCCESS, None), values.pop(_LIMIT, None)
        return cls(success, None if limit is None else _steps(limit), dict(sorted(values.items())))

    def __str__(self) -> str:
        """Return the choices as a query; "" without any."""
        given = {_SUCCESS: self.success, _LIMIT: self.max_episode_steps, **dict(sorted(self.options.items()))}
        return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in given.items() if value is not None)

    @property
    def keywords(self) -> dict[str, Any]:
        """Keyword arguments with numbers and bools recognised."""
        return {name: typed_value(text) for name, text in self.options.items()}


@dataclass(frozen=True, kw_only=True)
class EnvironmentFlags:
    """Flags of a command that name an environment and make choices about it."""

    env: str = "pick-place"
    """Environment: a name that `python -m envs` lists, a full id, gym:ID for one of Gymnasium, gym:module:ID for one
    that a module registers, module:function or file.py:function that makes a gymnasium.Env, or several of them with
    commas between."""
    success: str | None = None
    """When an episode of gym:… or of a function is a success: info:KEY (info[KEY] is true), terminated, or return>=X
    (judged at the end of the episode)."""
    env_option: tuple[str, ...] = ()
    """Keyword arguments of gym:… or of a function, each NAME=VALUE."""
    max_episode_steps: int | None = None
    """Time limit of gym:… or of a function in control steps, if it has none or another one."""

    env_python: Path | None = None
    """Python interpreter that has the packages of the environment. The environment runs there, in a process of its
    own; by default gym:… and functions run in this process, and suites where `python -m envs install` put them."""

    @property
    def environment(self) -> str:
        """Name of the environment with its choices, for `envs.registration.find_environment`.

        From here on, this process and its workers use the interpreter of --env-python.

        Raises:
            SimScaleError: If a choice or the interpreter is impossible.
        """
        if self.env_python is not None:
            from simscaleai.hosting.interpreters import choose_interpreter

            choose_interpreter(self.env_python)
        return with_choices(
            self.env, success=self.success, max_episode_steps=self.max_episode_steps, options=self.env_option
        )


def with_choices(
    name: str, *, success: str | None = None, max_episode_steps: int | None = None, options: Sequence[str] = ()
) -> str:
    """Return the name of an environment with choices, for `find_environment`.

    Args:
        name: Name or id of the environment, or several with commas between them. Each gets the same choices.
        success: Rule for the success of an episode.
        max_episode_steps: Time limit in control steps.
        options: Keyword arguments, each "NAME=VALUE".

    Raises:
        SimScaleError: If an option has another form or a name twice, or the limit is below 1.
    """
    named: dict[str, str] = {}
    for text in options:
        option, equals, value = text.partition("=")
        if not (option and equals) or option in named or option in (_SUCCESS, _LIMIT):
            raise SimScaleError(f"expected --env-option NAME=VALUE, once for each name, got {text!r}")
        named[option] = value
    limit = None if max_episode_steps is None else _steps(str(max_episode_steps))
    query = str(Choices(success, limit, named))
    if not query:
        return name
    return ",".join(part + ("&" if "?" in part else "?") + query for part in name.split(","))


def _steps(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise SimScaleError(f"expected a time limit of at least 1 control step, got {text}")
    return int(text)


def _quoted(value: object) -> str:
    return quote(str(value), safe=" >=<:/.+-_*()[]{}'\"!@$;|~^")
