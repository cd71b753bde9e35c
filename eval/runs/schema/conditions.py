"""What a run was made with: environment, policies, sizes, and the settings of its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simscaleai.contract import Needs
from simscaleai.errors import SimScaleError


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Values that follow from the configuration."""

    environment: str
    """Full id of the environment."""
    num_envs: int
    """Number of slots of each worker."""
    workers: int
    """Number of processes that run episodes."""
    episodes: int
    """Number of planned episodes, of all shards; an upper limit if a stopping rule may end the run."""
    device: str | None = None
    """Device of `--device`, where one process computes the policy; None if every worker computes it on one core."""
    tile: int | None = None
    """Number of rows that the model gets at once on `device`."""

    def __post_init__(self) -> None:
        """Raise if the number of episodes is negative."""
        if self.episodes < 0:
            raise SimScaleError(f"expected at least 0 planned episodes, got {self.episodes}")


@dataclass(frozen=True, kw_only=True)
class PolicyRecord:
    """One policy of a run."""

    model: str
    """Name of the policy, as the user gave it."""
    checkpoint: str | None = None
    """Folder of the weights; None if the user gave none."""
    identity: str = ""
    """Digest of what the policy is: its weights, its code, its server; "" if unknown."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options with their values."""
    needs: Needs
    """What the policy needs of the environment."""

    @property
    def simulator_truth(self) -> tuple[str, ...]:
        """Vectors that the policy gets and that only a simulator knows."""
        return tuple(key for key, layout in self.needs.vectors.items() if layout.privileged)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Entries of the configuration that comparisons and reports use."""

    env: str
    """Environment as the user named it."""
    success: str | None = None
    """Success rule that the user named; None if the environment has its own."""
    env_option: tuple[str, ...] = ()
    """Keyword arguments of the environment, each `NAME=VALUE`."""
    max_episode_steps: int | None = None
    """Time limit that the user gave; None for that of the environment."""
    terminate_on_success: bool = True
    """Whether a success ends the episode."""
    intervene: tuple[str, ...] = ()
    """Interventions on the inputs of the policy, each `kind=value`."""
    perturb: tuple[str, ...] = ()
    """Perturbations of every episode, each `AXIS=VALUE`."""
    delay: int = 0
    """Latency of the policy in control steps, besides those of `perturb`."""
    policy_option: tuple[str, ...] = ()
    """Options of the policy, each `NAME=VALUE`."""
