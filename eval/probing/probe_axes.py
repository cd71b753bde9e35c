"""The axes along which episodes of an environment can be perturbed, and the probes that carry out those outside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eval.episodes.probe import Probe
from eval.probing.perturbations import PerturbationError
from simscaleai.contract import EnvSpec, Needs
from simscaleai.perturbation import Axis


def axes_of(spec: EnvSpec) -> dict[str, Axis]:
    """Return all axes by name: those of the environment's scene, then those of probes, which any environment has."""
    return {axis.name: axis for axis in spec.axes}


def perturbation_probes(needs: Needs, spec: EnvSpec) -> list[Probe]:
    """Return the probes that carry out `EpisodeSpec.perturbation` between an environment and a policy.

    Args:
        needs: What the policy needs.
        spec: What the environment offers.
    """
    return []


def check_effects(axes: Iterable[Axis], readers: Sequence[Needs]) -> None:
    """Check that each of `axes` changes something for a policy, or for somebody else who reads the episodes.

    Args:
        axes: Axes that are set.
        readers: Needs of the policy, then those of a recorder.

    Raises:
        PerturbationError: If an axis changes nothing. The text gives the reason.
    """
    for axis in axes:
        if axis.changes == "looks" and not any(needs.cameras for needs in readers):
            raise PerturbationError(f"{axis.name} changes nothing: the policy sees no images")
