"""Builds policies and environments from the names that users type, and checks that they fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eval.episodes.faults import logged
from policies.base import Policy
from policies.learned.devices import Device
from simscaleai.contract import EnvSpec, Needs, check_needs, union_of_needs
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    from envs.registration import Registration
    from envs.slots import SlotEnv
    from policies.learned.adapter import PolicyAdapter


def build_policy(
    model: str,
    checkpoint: Path | None,
    spec: EnvSpec,
    options: Mapping[str, str] | None = None,
    device: Device | None = None,
) -> Policy:
    """Return the policy `model` for the environment that offers `spec`.

    Args:
        model: Name, checkpoint folder, or `module:attribute`.
        checkpoint: Folder with the weights; None if `model` itself names the weights, or needs none.
        spec: What the environment offers.
        options: Name to value of `--policy-option`.
        device: Where a learned policy computes.

    Raises:
        SimScaleError: If there is no such policy, or it needs both images and simulator truth.
        MismatchError: If the environment does not offer what the policy needs.
    """
    from policies.registry import make_policy

    policy = make_policy(model, spec=spec, checkpoint=checkpoint, options=options, device=device)
    check_needs(policy.needs, spec)
    if policy.needs.cameras and policy.needs.privileged:
        raise SimScaleError(
            f"policy {model!r} looks at images and asks for {', '.join(policy.needs.privileged)}, which is simulator "
            "truth; a policy that looks at images must do without it"
        )
    return policy


def build_learned(
    model: str, checkpoint: Path | None, spec: EnvSpec, options: Mapping[str, str] | None, device: Device | None
) -> PolicyAdapter:
    """Return a policy of which it is known that it is learned; see `build_policy`."""
    from policies.learned.adapter import PolicyAdapter

    policy = build_policy(model, checkpoint, spec, options, device)
    if not isinstance(policy, PolicyAdapter):
        raise SimScaleError(f"policy {model!r} has changed since the run began; start a new run")
    return policy


def build_environment(
    registration: Registration,
    readers: Sequence[Needs],
    num_slots: int,
    *,
    terminate_on_success: bool = True,
    max_episode_steps: int | None = None,
) -> SlotEnv:
    """Return an environment that gives all `readers` what they need.

    Args:
        registration: From `envs.registration.find_environment`.
        readers: Needs of the policy, of an expert, of observers.
        num_slots: Number of slots.
        terminate_on_success: End an episode at its first success.
        max_episode_steps: Time limit in control steps; by default the environment's.

    Raises:
        MismatchError: If the environment does not offer what a reader needs.
    """
    env = registration.make(num_slots, union_of_needs(readers), terminate_on_success, max_episode_steps)
    for needs in readers:
        check_needs(needs, env.spec)
    return env


@contextmanager
def closing(env: SlotEnv, *policies: Policy) -> Iterator[SlotEnv]:
    """Close `env` and `policies` at the end of the block."""
    try:
        yield env
    finally:
        with logged("closing the environment"):
            env.close()
        for policy in policies:
            close_policy(policy)


def close_policy(policy: Policy) -> None:
    """Close `policy`. An exception is only logged."""
    with logged("closing the policy"):
        getattr(policy, "close", lambda: None)()
