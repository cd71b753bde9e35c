"""The axes along which episodes of an environment can be perturbed, and the probes that carry out those of probes.

    axes = axes_of(spec)
    probes = perturbation_probes(policy.needs, spec)

The environment carries out the axes of its scene, the loop carries out `latency`, and probes carry out the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eval.episodes.action_execution import LATENCY
from eval.episodes.probe import Probe
from eval.probing.cameras import IMAGE_AXES, SWAPPED, CameraFaults, for_camera
from eval.probing.noise import ACTION_NOISE, STATE_NOISE, ActionNoise, StateNoise, noise_scales
from eval.probing.perturbations import PerturbationError, Perturbations, parse_perturbations
from eval.probing.words import Words
from simscaleai.contract import EnvSpec, Needs
from simscaleai.perturbation import Axis


def axes_of(spec: EnvSpec) -> dict[str, Axis]:
    """Return all axes by name: those of the environment's scene, then those that any environment has.

    An axis of images, such as "image.blur", is there for all cameras together, and once more for each camera, as
    "image.blur.wrist".
    """
    of_images = [*IMAGE_AXES, *(for_camera(axis, camera) for camera in spec.cameras for axis in IMAGE_AXES)]
    of_probes = [*of_images, STATE_NOISE, ACTION_NOISE, LATENCY, *Words.axes]
    return {axis.name: axis for axis in (*spec.axes, *of_probes)}


def perturbation_probes(needs: Needs, spec: EnvSpec) -> list[Probe]:
    """Return the probes that carry out `EpisodeSpec.perturbation` between an environment and a policy.

    An episode without perturbation passes them unchanged.

    Args:
        needs: What the policy needs.
        spec: What the environment offers.
    """
    return [CameraFaults(tuple(needs.cameras)), StateNoise(needs.measured), ActionNoise(spec.action), Words()]


def read_perturbations(texts: Sequence[str], delay: int, spec: EnvSpec, *, allow_ranges: bool = False) -> Perturbations:
    """Return what a user asks for with `--perturb` and `--delay`.

    Args:
        texts: Values of `--perturb`, each `AXIS=VALUE`.
        delay: Value of `--delay`, a latency in control steps; 0 for none.
        spec: What the environment offers.
        allow_ranges: Whether a value may be a range of levels.

    Raises:
        UnknownNameError: If there is no such axis.
        PerturbationError: If a value cannot be read or is not possible, or an axis is set twice.
    """
    if delay < 0:
        raise PerturbationError(f"expected a --delay of at least 0 control steps, got {delay}")
    latency = [f"{LATENCY.name}={1000 * delay / spec.control_hz:.10g}{LATENCY.unit}"] if delay else []
    return parse_perturbations([*texts, *latency], axes_of(spec), allow_ranges=allow_ranges)


def check_effects(axes: Iterable[Axis], readers: Sequence[Needs], spec: EnvSpec) -> None:
    """Check that each of `axes` changes something for a policy, or for somebody else who reads the episodes.

    Args:
        axes: Axes that are set.
        readers: Needs of the policy, then those of others.
        spec: What the environment offers.

    Raises:
        PerturbationError: If an axis changes nothing. The text gives the reason.
    """
    for axis in axes:
        reasons = [reason_without_effect(axis, needs, spec) for needs in readers]
        if all(reasons):
            raise PerturbationError(f"{axis.name} changes nothing: {reasons[0]}; leave it out")


def reason_without_effect(axis: Axis, needs: Needs, spec: EnvSpec) -> str:
    """Return why `axis` changes nothing for a policy with the needs `needs`; "" if it changes something.

    Args:
        axis: The axis.
        needs: What the policy needs.
        spec: What the environment offers.
    """
    if axis.changes == "looks" and not needs.cameras:
        return "the policy sees no images"
    if axis.changes == "words" and not needs.instruction:
        return "the policy reads no instructions"
    if axis.name == STATE_NOISE.name and not needs.measured:
        return "the policy reads nothing that a robot measures"
    if axis.name == ACTION_NOISE.name and not noise_scales(spec.action).any():
        return f"the actions of {spec.env_id} have no range"
    if ".".join(axis.name.split(".")[:2]) in {each.name for each in IMAGE_AXES}:
        return _reason_for_images(axis, needs)
    return ""


def _reason_for_images(axis: Axis, needs: Needs) -> str:
    if not needs.cameras:
        return "the policy sees no images"
    camera = axis.name.split(".", 2)[2] if axis.is_of_one_camera else None
    if camera not in (None, *needs.cameras):
        return f"the policy does not see the camera {camera!r}, only {', '.join(needs.cameras)}"
    if axis.name.startswith(SWAPPED.name) and (len(needs.cameras) < 2 or len(set(needs.cameras.values())) > 1):
        return "the policy has no second camera with images of the same size"
    return ""
