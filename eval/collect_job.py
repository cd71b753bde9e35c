"""Builds who demonstrates and where, and records what they do: in this process, or in each of several workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eval.assembly import build_environment, build_policy, environment_contract
from eval.demonstrator import Demonstrator
from eval.loop import rollout
from eval.observers.base import Observer
from eval.observers.dataset import EpisodeFiles
from eval.plan import EpisodeSpec
from eval.results import EpisodeResult
from eval.worker import WorkerJob
from policies.base import Policy

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv


@dataclass(frozen=True, kw_only=True)
class CollectJob(WorkerJob):
    """Everything needed to record any episode of a plan."""

    folder: Path
    """Folder of the dataset."""
    env_id: str
    model: str
    checkpoint: Path | None
    expert: str | None
    action_noise: float
    cameras: tuple[str, ...]
    image_size: int
    keep_failures: bool

    def build_policy(self) -> Policy:
        """Return who acts."""
        return build_policy(self.model, self.checkpoint, self.env_id)

    def build_environment(self, policy: Policy, *, num_threads: int | None = None) -> TaskVectorEnv:
        """Return where `policy` acts, with all that is to be recorded."""
        size = (self.image_size, self.image_size)
        offered = replace(environment_contract(self.env_id), cameras=self.cameras, image_size=size)
        return build_environment(policy.contract, self.env_id, self.num_envs, offered=offered, num_threads=num_threads)

    def record(
        self, policy: Policy, env: TaskVectorEnv, plan: Iterable[EpisodeSpec], observers: Sequence[Observer]
    ) -> list[EpisodeResult]:
        """Run the episodes of `plan` and write the files of those worth keeping, before `observers` hear of them."""
        expert = None if self.expert is None else build_policy(self.expert, None, self.env_id)
        demonstrator = Demonstrator(policy, env.num_envs, noise=self.action_noise, expert=expert)
        files = EpisodeFiles(self.folder, demonstrator.labels, keep_failures=self.keep_failures)
        return rollout(env, demonstrator, plan, [files, *observers])

    def run(self, plan: Iterable[EpisodeSpec], reporter: Observer) -> None:
        """Record the episodes of `plan` in a worker."""
        policy = self.build_policy()
        env = self.build_environment(policy, num_threads=1)
        self.record(policy, env, plan, [reporter])
        env.close()
