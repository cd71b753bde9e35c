"""The job of an evaluation: builds policy and environment, and runs episodes, in this process or in a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eval.episodes.loop import rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec
from eval.episodes.pulse import Pulse
from eval.execution.assembly import build_environment, build_learned, build_policy, closing
from eval.execution.worker import PortableJob
from eval.observers.film.video import VideoRecorder
from eval.observers.receipts import ReceiptWriter
from eval.observers.rerun.recorder import RerunRecorder
from eval.observers.trace import TraceRecorder
from eval.probing.interventions import Interventions
from eval.probing.perturbations import Perturbations
from eval.probing.probe_axes import perturbation_probes
from eval.runs.media_paths import (
    RERUN_FOLDER,
    TRACES_FOLDER,
    VIDEOS_FOLDER,
    media_paths,
    rerun_paths,
    trace_paths,
    video_paths,
)
from eval.runs.receipts import receipt_path
from policies.base import Policy
from simscaleai.contract import EnvSpec
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    from envs.registration import Registration
    from envs.slots import SlotEnv
    from policies.learned.adapter import PolicyAdapter


@dataclass(frozen=True, kw_only=True)
class EvaluationJob(PortableJob):
    """Everything needed to evaluate any episode of a plan."""

    model: str
    checkpoint: Path | None
    options: Mapping[str, str]
    """Name to value of `--policy-option`."""
    env: str
    """Name or id of the environment."""
    interventions: Interventions
    perturbations: Perturbations = field(default_factory=Perturbations)
    """Perturbations of every episode. The plan holds them, too."""
    filmed: range
    """Indices of the episodes to film and to trace."""
    recorded: range = range(0)
    """Indices of the episodes to record for the Rerun viewer."""
    identity: str
    """Identity of the policy at the start of the run; every process must build the same policy."""

    @property
    def registration(self) -> Registration:
        """The environment."""
        from envs.registration import find_environment

        return find_environment(self.env)

    def build_policy(self, spec: EnvSpec) -> Policy:
        """Return the policy; in a worker, its share of the policy of `outline`."""
        if self.remote:
            return self.remote()
        return build_policy(self.model, self.checkpoint, spec, self.options, self.device)

    def check_identity(self, policy: Policy) -> None:
        """Check that the policy is that of the start of the run.

        Raises:
            SimScaleError: If its identity differs.
        """
        if policy.identity != self.identity:
            raise SimScaleError(
                f"policy {self.model!r} has changed since the run began (identity {self.identity[:12]}, now "
                f"{policy.identity[:12]}); start a new run"
            )

    def build_model(self) -> PolicyAdapter:
        """Build the policy of `outline`; see `WorkerJob`."""
        self.check_device()
        return build_learned(self.model, self.checkpoint, self.registration.offer(), self.options, self.device)

    def build_environment(self, policy: Policy, num_slots: int) -> SlotEnv:
        """Return an environment for `policy` and the observers."""
        readers = [policy.needs, *(observer.needs for observer in self.observers(policy))]
        return build_environment(self.registration, readers, num_slots, terminate_on_success=self.terminate_on_success)

    def observers(self, policy: Policy) -> list[Observer]:
        """Return the observers that write the files of an episode, which must be on disk before its line."""
        return [
            ReceiptWriter(self.folder, policy.needs),
            VideoRecorder(video_paths(self.folder / VIDEOS_FOLDER, self.filmed)),
            TraceRecorder(trace_paths(self.folder / TRACES_FOLDER, self.filmed), policy.needs),
            RerunRecorder(rerun_paths(self.folder / RERUN_FOLDER, self.recorded), policy.needs, Path(self.model).name),
        ]

    def files_of(self, episode_index: int) -> list[Path]:
        """Return the paths of the files that an episode may have; see `PortableJob`."""
        return [receipt_path(self.folder, episode_index), *media_paths(self.folder, episode_index)]

    def run_here(
        self,
        env: SlotEnv,
        policy: Policy,
        plan: Iterable[EpisodeSpec],
        observers: Sequence[Observer],
        pulse: Pulse,
    ) -> None:
        """Evaluate the episodes of `plan` with `policy` in `env`."""
        rollout(
            env,
            policy,
            plan,
            [*self.observers(policy), *observers],
            probes=[
                *self.interventions.probes(policy.needs, self.registration),
                *perturbation_probes(policy.needs, env.spec),
            ],
            terminate_on_success=self.terminate_on_success,
            pulse=pulse,
        )

    def run(self, plan: Iterable[EpisodeSpec], reporter: Observer, pulse: Pulse) -> None:
        """Evaluate the episodes of `plan` in a worker."""
        policy = self.build_policy(self.registration.offer())
        with closing(self.build_environment(policy, self.num_envs), policy) as env:
            self.check_machine(env)  # first: the identity of a hosted policy depends on the packages of its machine
            self.check_identity(policy)
            self.run_here(env, policy, plan, [reporter], pulse)
