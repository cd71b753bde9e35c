"""The flags that name an environment, which several commands share."""

from __future__ import annotations

from dataclasses import dataclass

from envs.choices import with_choices


@dataclass(frozen=True, kw_only=True)
class EnvironmentFlags:
    """Flags that name an environment."""

    env: str = "pick-place"
    """Environment: a name that `python -m envs` lists, a full id, gym:ID for an environment of Gymnasium, or
    module:function or file.py:function that makes a gymnasium.Env."""
    success: str | None = None
    """When an episode of gym:… or of a function is a success: info:KEY (info[KEY] is true), terminated, or return>=X
    (judged at the end of the episode)."""
    env_option: tuple[str, ...] = ()
    """Keyword arguments of gym:… or of a function, each NAME=VALUE."""
    max_episode_steps: int | None = None
    """Time limit of gym:… or of a function in control steps, if it has none or another one."""

    @property
    def environment(self) -> str:
        """Name of the environment with its choices, for `envs.registration.find_environment`."""
        return with_choices(
            self.env, success=self.success, max_episode_steps=self.max_episode_steps, options=self.env_option
        )
