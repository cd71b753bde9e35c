"""The job of a collection: builds policies and environment, and records episodes, in this process or in a worker."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envs.registration import Registration, find_environment
from envs.slots import SlotEnv
from eval.demonstrations.expert_labels import ExpertLabels
from eval.episodes.loop import rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec
from eval.episodes.pulse import Pulse
from eval.episodes.results import EpisodeResult
from eval.execution.assembly import build_environment, build_learned, build_policy, closing
from eval.execution.worker import PortableJob
from eval.observers.dataset import EpisodeRecorder
from eval.probing.noise import DisplacementNoise
from eval.probing.probe_axes import perturbation_probes
from policies.base import Policy
from policies.foreign.hosted import PREFIX as HOSTED
from simscaleai.contract import EnvSpec, Needs
from simscaleai.data.episode_list import episode_file_name
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.json_data import json_differences

if TYPE_CHECKING:
    from policies.learned.adapter import PolicyAdapter


@dataclass(frozen=True)
class Demonstrators:
    """The policies of a collection: one acts, and an expert may label."""

    policy: Policy
    """Policy that acts."""
    expert: Policy | None
    """Policy that labels; None if the actions of `policy` are the labels."""

    @property
    def policies(self) -> tuple[Policy, ...]:
        """`policy`, and `expert` if there is one."""
        return (self.policy, *([self.expert] if self.expert else []))

    @property
    def identities(self) -> dict[str, str | None]:
        """Identity of each policy, with the keys "policy" and "expert"."""
        return {"policy": self.policy.identity, "expert": self.expert.identity if self.expert else None}


@dataclass(frozen=True, kw_only=True)
class CollectJob(PortableJob):
    """Everything needed to record any episode of a plan. `folder` is that of the dataset."""

    env_id: str
    model: str
    checkpoint: Path | None
    expert: str | None
    """Name of the policy that labels; None if the acting policy labels."""
    action_noise: float
    """Standard deviation of the noise on executed actions, in units of the action."""
    recorded: Needs
    """Vectors and cameras to store."""
    keep_failures: bool
    identities: Mapping[str, str | None] | None = None
    """`Demonstrators.identities` at the start of the collection; every process must build the same policies."""

    @property
    def registration(self) -> Registration:
        """The environment."""
        return find_environment(self.env_id)

    def build_demonstrators(self) -> Demonstrators:
        """Return the policies that act and label.

        Raises:
            SimScaleError: If one of them cannot be made, or the expert cannot label.
        """
        if self.expert is not None and self.expert.startswith(HOSTED):
            raise SimScaleError(
                f"{self.expert} can act (--model), but not label: it sees the environment as it is now, not as it was "
                "before the step"
            )
        spec = self.registration.offer()
        expert = None if self.expert is None else build_policy(self.expert, None, spec)
        with suppress(FileNotFoundError):  # another machine need not have the folder
            os.chdir(self.home)  # the expert may have changed it, and paths of the other policy are relative to it
        acting = self.remote() if self.remote else build_policy(self.model, self.checkpoint, spec, device=self.device)
        return Demonstrators(acting, expert)

    def build_model(self) -> PolicyAdapter:
        """Build the policy that acts; see `WorkerJob`."""
        self.check_device()
        return build_learned(self.model, self.checkpoint, self.registration.offer(), None, self.device)

    def build_environment(self, demonstrators: Demonstrators, num_slots: int) -> SlotEnv:
        """Return an environment with all observations that the policies and the dataset need."""
        readers = [demonstrators.policy.needs, self.recorded]
        if demonstrators.expert:
            readers.append(demonstrators.expert.needs)
        return build_environment(self.registration, readers, num_slots, terminate_on_success=self.terminate_on_success)

    def files_of(self, episode_index: int) -> list[Path]:
        """Return the path of the file that an episode may have; see `PortableJob`."""
        return [self.folder / episode_file_name(episode_index)]

    def recorder(self, demonstrators: Demonstrators, action_size: int, pulse: Pulse | None = None) -> EpisodeRecorder:
        """Return the observer that writes the files of the episodes that are worth keeping."""
        labels = None
        if demonstrators.expert and self.expert:
            labels = ExpertLabels(demonstrators.expert, self.expert, action_size, pulse)
        return EpisodeRecorder(self.folder, self.recorded, labels=labels, keep_failures=self.keep_failures)

    def record(
        self,
        demonstrators: Demonstrators,
        env: SlotEnv,
        plan: Iterable[EpisodeSpec],
        observers: Sequence[Observer],
        pulse: Pulse | None = None,
    ) -> list[EpisodeResult]:
        """Run the episodes of `plan`. The first of `observers` must be the recorder."""
        noise = [DisplacementNoise(self.action_noise, env.spec.action)] if self.action_noise else []
        probes = [*perturbation_probes(demonstrators.policy.needs, env.spec), *noise]
        return rollout(
            env,
            demonstrators.policy,
            plan,
            observers,
            probes=probes,
            terminate_on_success=self.terminate_on_success,
            pulse=pulse,
        )

    def run(self, plan: Iterable[EpisodeSpec], reporter: Observer, pulse: Pulse) -> None:
        """Record the episodes of `plan` in a worker."""
        demonstrators = self.build_demonstrators()
        with closing(self.build_environment(demonstrators, self.num_envs), *demonstrators.policies) as env:
            self.check_machine(env)  # first, as in an evaluation
            _check_identities(self.identities, demonstrators.identities)
            (self.folder / episode_file_name(0)).parent.mkdir(exist_ok=True)  # which another machine lacks
            recorder = self.recorder(demonstrators, env.spec.action.size, pulse)
            self.record(demonstrators, env, plan, [recorder, reporter], pulse)


def recorded_needs(spec: EnvSpec, cameras: Sequence[str] | None, image_size: int) -> Needs:
    """Return the observations that a dataset stores: all vectors of the environment, and images of `cameras`.

    Args:
        spec: What the environment offers.
        cameras: Cameras to store; None for all cameras of the environment.
        image_size: Height and width of the images [px]; ignored for a camera whose size the environment fixes.

    Raises:
        UnknownNameError: If there is no such camera.
        SimScaleError: If a camera is named twice, or the size is below 1.
    """
    chosen = tuple(spec.cameras) if cameras is None else tuple(cameras)
    for camera in chosen:
        if camera not in spec.cameras:
            raise UnknownNameError("camera", camera, spec.cameras)
    if len(set(chosen)) < len(chosen):
        raise SimScaleError(f"expected each of --cameras once, got {' '.join(chosen)}")
    if image_size < 1:
        raise SimScaleError(f"expected an --image-size of at least 1 px, got {image_size}")
    sizes = {camera: spec.cameras[camera] or (image_size, image_size) for camera in chosen}
    return spec.needs(*spec.vectors, cameras=sizes, instruction=spec.has_instructions)


def _check_identities(before: Mapping[str, str | None] | None, now: Mapping[str, str | None]) -> None:
    if before is None:
        return
    if differing := json_differences(before, now):
        raise SimScaleError(
            "the code or the weights of a policy have changed during the collection; start a new one: "
            + "; ".join(differing)
        )
