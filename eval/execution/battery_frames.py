"""Pictures of the first start of a battery in every arm, so that people see what each level means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.registration import Registration
from envs.slots import SlotEnv, Start
from eval.episodes.battery import CONTROL, Battery
from eval.episodes.faults import Fault, attributed_to_environment
from eval.episodes.loop import PERTURBATION
from eval.episodes.plan import EpisodeSpec
from eval.episodes.probe import Probe
from eval.execution.planning import plan_battery
from eval.probing.probe_axes import perturbation_probes
from eval.runs.media_paths import frame_path
from simscaleai.contract import EnvSpec, Needs
from simscaleai.errors import SimScaleError
from simscaleai.files import replace_file

_FILM_SIZE = (240, 240)
"""Height and width of the picture of a film camera [px]."""


def write_frames(folder: Path, registration: Registration, needs: Needs, battery: Battery, seed: int) -> None:
    """Write a PNG for the control and for each arm whose start looks different, below the folder of the battery.

    A picture holds what the cameras of the policy see at the first step, one below the other. If the policy has no
    camera, it comes from the first film camera of the environment. Without any camera there are no pictures.

    Args:
        folder: Folder of the battery.
        registration: The environment.
        needs: Needs of the policy.
        battery: The arms.
        seed: Seed of the start.

    Raises:
        SimScaleError: If this machine cannot render, or the environment fails.
    """
    spec = registration.offer()
    if not (needs.cameras or spec.film_cameras):
        return
    try:
        with attributed_to_environment():
            _draw(folder, registration, spec, Needs(cameras=needs.cameras), plan_battery(battery, [seed]))
    except Fault as fault:
        raise SimScaleError(f"the environment failed: {fault.__cause__}") from fault


def _draw(folder: Path, registration: Registration, spec: EnvSpec, looks: Needs, plan: Sequence[EpisodeSpec]) -> None:
    """Write the pictures of `plan`, of which the first episode is the control."""
    env = registration.make(1, looks, True, None)
    probes = perturbation_probes(looks, spec)
    try:
        control, *others = ((episode, _picture(env, spec, looks, probes, episode)) for episode in plan)
        frame_path(folder, CONTROL).parent.mkdir(exist_ok=True)
        _write(frame_path(folder, CONTROL), control[1])
        for episode, picture in others:
            if not np.array_equal(picture, control[1]):
                _write(frame_path(folder, episode.arm or CONTROL), picture)
    finally:
        env.close()


def _picture(env: SlotEnv, spec: EnvSpec, needs: Needs, probes: list[Probe], episode: EpisodeSpec) -> NDArray[np.uint8]:
    """Return what is seen at the start of `episode`, shape (height, width, 3)."""
    slots = np.zeros(1, dtype=np.intp)
    scene = {axis.name for axis in spec.axes}
    changed = {name: size for name, size in (episode.perturbation or {}).items() if name in scene}
    env.reset(slots, [Start(episode.seed, {PERTURBATION: changed} if changed else {})])
    if not needs.cameras:
        return env.frame(0, spec.film_cameras[0], _FILM_SIZE)
    observation = env.observe(slots, np.ones(1, dtype=bool))
    for probe in probes:
        probe.begin(slots, [episode])
        observation = probe.observe(observation, slots)
    return _stacked([observation[camera][0] for camera in needs.cameras])


def _stacked(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return `images` one below the other; black fills the rows of those that are narrower than others."""
    width = max(image.shape[1] for image in images)
    return np.concatenate([np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0))) for image in images])


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    replace_file(path, buffer.getvalue())
