"""From a dataset and a configuration to the policy that is to be trained: contract, processor and model."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from simscaleai.checkpoint import Checkpoint, load_checkpoint
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError
from simscaleai.models.presets import preset_arguments
from simscaleai.models.registry import create_model, resolve_model
from simscaleai.processing import Processor
from simscaleai.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class PolicyToTrain:
    """A model with everything that will stand beside it in the checkpoint."""

    model: nn.Module
    """The network."""
    model_arguments: dict[str, Any]
    """What it was built with."""
    contract: dict[str, Any]
    """What it requires of an environment."""
    processor: Processor
    """Transforms between environment and model."""
    action_horizon: int
    """Actions that it predicts at once."""
    initial: Checkpoint | None = None
    """Where weights and normalisation come from, if it is not untrained."""
    share_taken: float = 0.0
    """Share of the weights that come from there."""


def build_policy(config: TrainConfig, dataset: Dataset) -> PolicyToTrain:
    """Build what `config` asks for, with weights drawn from its seed, or from its initial checkpoint.

    The model's constructor is given those facts about the data (`state_dim`, `image_size`, …) that it names.

    Raises:
        SimScaleError: If model, arguments and dataset do not fit together.
    """
    contract = _policy_contract(config, dataset)
    processor = Processor.fit(contract, dataset.statistics)
    arguments = _model_arguments(config, contract, processor, action_dim=dataset.vectors("action").shape[1])
    torch.manual_seed(config.seed)
    model = create_model(config.model, **arguments)
    if not getattr(model, "uses_image", True):
        contract |= _NO_IMAGES
        processor = Processor.fit(contract, dataset.statistics)
    elif not contract["cameras"] and getattr(model, "uses_image", False):
        raise SimScaleError(f"model {config.model!r} looks at images; the dataset or the options give it none")
    contract["language"] = bool(getattr(model, "uses_language", False))
    horizon = int(getattr(model, "action_horizon", 1))
    if horizon != config.action_horizon:
        raise SimScaleError(
            f"model {config.model!r} predicts {horizon} actions at once, --action-horizon asks for "
            f"{config.action_horizon}"
        )
    policy = PolicyToTrain(
        model=model, model_arguments=arguments, contract=contract, processor=processor, action_horizon=horizon
    )
    return (
        policy if config.initial_checkpoint is None else _started_from(config.initial_checkpoint, policy, config.model)
    )


def _started_from(folder: Path, policy: PolicyToTrain, model_name: str) -> PolicyToTrain:
    """Return `policy` with the normalisation and, as far as they fit, the weights of the checkpoint in `folder`.

    Both must observe and act alike; only the environments may differ, since new tasks may be learned. Weights that the
    checkpoint lacks or has in another shape, those of another action head for example, stay untrained.
    """
    initial = load_checkpoint(folder, module=model_name if ":" in model_name else None)
    sides: dict[str, tuple[Any, Any]] = {"model": (initial.model_name, model_name)}
    for name in policy.contract.keys() - {"environments"}:
        sides[name] = (initial.contract.get(name), policy.contract[name])
    differing = [f"{name} is {there!r} there, {here!r} here" for name, (there, here) in sides.items() if there != here]
    if differing:
        raise SimScaleError(f"cannot start from {folder}: {'; '.join(sorted(differing))}")
    weights, given = policy.model.state_dict(), initial.model.state_dict()
    fitting = {name: given[name] for name in weights if name in given and given[name].shape == weights[name].shape}
    share = sum(map(torch.numel, fitting.values())) / max(1, sum(map(torch.numel, weights.values())))
    if share < _LEAST_SHARE_TAKEN:
        raise SimScaleError(f"cannot start from {folder}: only {share:.0%} of the weights fit; give the same sizes")
    policy.model.load_state_dict(weights | fitting)
    return replace(policy, processor=initial.processor, initial=initial, share_taken=share)


_LEAST_SHARE_TAKEN = 0.5  # of the weights; with less it is another network, and the user does not know

_NO_IMAGES: dict[str, Any] = {"cameras": [], "image_size": None, "render_profile": None}


def _policy_contract(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    contract = dict(dataset.contract)
    if config.use_environment_state and not contract.get("environment_state"):
        raise SimScaleError("--use-environment-state needs a dataset with environment_state, the same in all folders")
    if not config.use_environment_state:
        contract["environment_state"] = None
    if not config.image or config.use_environment_state or not contract.get("cameras"):
        contract |= _NO_IMAGES
    return contract


def _model_arguments(
    config: TrainConfig, contract: dict[str, Any], processor: Processor, action_dim: int
) -> dict[str, Any]:
    """Return what to build the model with: the preset, facts about the data, then the user's own words."""
    facts: dict[str, Any] = {
        "state_dim": processor.state_dim,
        "action_dim": action_dim,
        "action_horizon": config.action_horizon,
        "use_image": bool(contract["cameras"]),
        "use_language": config.language,
    }
    if processor.image_shape is not None:
        height, width, channels = processor.image_shape
        if height != width:
            raise SimScaleError(f"models take square images; the dataset's are {height}×{width}")
        facts |= {"image_size": height, "image_channels": channels, "in_channels": channels}
    named = inspect.signature(resolve_model(config.model)).parameters
    arguments = {name: value for name, value in facts.items() if name in named}
    if config.preset is not None:
        arguments = preset_arguments(config.preset) | arguments
    return arguments | config.parsed_model_arguments()
