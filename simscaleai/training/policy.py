"""Builds the policy to train from a dataset and a configuration: its needs, processor and model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from simscaleai.checkpoint import Checkpoint, load_checkpoint
from simscaleai.contract import Needs
from simscaleai.data import Dataset
from simscaleai.data.keys import ACTION
from simscaleai.errors import SimScaleError
from simscaleai.json_data import json_differences
from simscaleai.models.presets import preset_arguments
from simscaleai.models.registry import create_model, resolve_model
from simscaleai.processing import Processor
from simscaleai.training.config import TrainConfig

# If less than this share of the weights fits, the checkpoint holds another network, which the user hardly intends.
_MIN_SHARE_TAKEN = 0.5


@dataclass(frozen=True, kw_only=True)
class PolicyToTrain:
    """A model and the other contents of its checkpoint."""

    model: nn.Module
    """The network."""
    model_arguments: dict[str, Any]
    """Arguments that the model was built with."""
    needs: Needs
    """What the policy needs from an environment."""
    processor: Processor
    """Conversions between environment and model."""
    action_horizon: int
    """Number of consecutive actions that the model predicts at once."""
    initial: Checkpoint | None = None
    """Checkpoint that weights and normalisation come from; None for an untrained policy."""
    share_taken: float = 0.0
    """Share of the weights that come from `initial`."""


def build_policy(config: TrainConfig, dataset: Dataset) -> PolicyToTrain:
    """Build the policy of `config`, with weights drawn from its seed or taken from its initial checkpoint.

    Facts about the data (`state_dim`, `image_size`, …) are passed to the constructor of the model if it has parameters
    with these names.

    Raises:
        SimScaleError: If model, arguments and dataset do not fit together.
    """
    needs = _available_needs(config, dataset)
    processor = Processor.fit(needs, dataset.statistics)
    arguments = _model_arguments(config, processor, action_dim=dataset.vectors(ACTION).shape[1])
    torch.manual_seed(config.seed)
    model = create_model(config.model, **arguments)
    needs = _needs_of_model(config.model, model, needs)
    check_texts: Callable[[list[str]], None] | None = getattr(model, "check_texts", None)
    if needs.instruction and check_texts is not None:
        check_texts(list({episode.metadata["instruction"]: None for episode in dataset.episodes}))
    horizon = int(getattr(model, "action_horizon", 1))
    if horizon != config.action_horizon:
        raise SimScaleError(
            f"model {config.model!r} predicts {horizon} actions at once, --action-horizon asks for "
            f"{config.action_horizon}"
        )
    policy = PolicyToTrain(
        model=model,
        model_arguments=arguments,
        needs=needs,
        processor=Processor.fit(needs, dataset.statistics),
        action_horizon=horizon,
    )
    return policy if config.initial_checkpoint is None else _start_from(config.initial_checkpoint, policy, config.model)


def _available_needs(config: TrainConfig, dataset: Dataset) -> Needs:
    """Return the needs of a policy that observes everything that the options allow.

    A policy gets either images or privileged vectors, never both.
    """
    needs = dataset.needs
    if config.use_environment_state and not needs.privileged:
        raise SimScaleError(
            "--use-environment-state needs a dataset with a privileged vector, of the same layout in all folders"
        )
    if not config.use_environment_state:
        robot = {key: layout for key, layout in needs.vectors.items() if not layout.privileged}
        needs = replace(needs, vectors=robot)
    if not config.image or config.use_environment_state or not needs.cameras:
        needs = _without_images(needs)
    if not needs.keys:
        raise SimScaleError("dataset and options leave the policy nothing to observe; try --use-environment-state")
    return needs


def _needs_of_model(name: str, model: nn.Module, available: Needs) -> Needs:
    """Return the part of the `available` needs that `model` observes."""
    needs = replace(available, instruction=bool(getattr(model, "uses_language", False)))
    if not getattr(model, "uses_image", True):
        needs = _without_images(needs)
    elif not needs.cameras and getattr(model, "uses_image", False):
        raise SimScaleError(f"model {name!r} looks at images; the dataset or the options give it none")
    return needs


def _without_images(needs: Needs) -> Needs:
    return replace(needs, cameras={}, render_profile=None)


def _model_arguments(config: TrainConfig, processor: Processor, action_dim: int) -> dict[str, Any]:
    """Return the model's arguments: the preset, then facts about the data, then the user's; later ones override."""
    facts: dict[str, Any] = {
        "state_dim": processor.state_dim,
        "action_dim": action_dim,
        "action_horizon": config.action_horizon,
        "use_image": bool(processor.cameras),
        "use_language": config.language,
    }
    if processor.image_size is not None:
        height, width = processor.image_size
        if height != width:
            raise SimScaleError(f"models take square images; the dataset's are {height}×{width}; train with --no-image")
        channels = processor.image_channels
        facts |= {"image_size": height, "image_channels": channels, "in_channels": channels}
    parameters = inspect.signature(resolve_model(config.model)).parameters
    arguments = {name: value for name, value in facts.items() if name in parameters}
    if config.preset is not None:
        arguments = preset_arguments(config.preset) | arguments
    return arguments | config.parsed_model_arguments()


def _start_from(folder: Path, policy: PolicyToTrain, model_name: str) -> PolicyToTrain:
    """Return `policy` with the normalisation and the matching weights of the checkpoint in `folder`.

    Policy and checkpoint must have the same model and the same needs. Only the environments may differ, so that a
    policy can learn new tasks. Weights that are missing in the checkpoint or have another shape there, for example the
    weights of another action head, stay untrained.
    """
    initial = load_checkpoint(folder, module=model_name if ":" in model_name else None)
    different = json_differences(
        {"model": initial.model_name} | _comparable(initial.needs), {"model": model_name} | _comparable(policy.needs)
    )
    if different:
        raise SimScaleError(f"cannot start from {folder}: {'; '.join(different)}")
    weights, given = policy.model.state_dict(), initial.model.state_dict()
    fitting = {name: given[name] for name in weights if name in given and given[name].shape == weights[name].shape}
    share = sum(map(torch.numel, fitting.values())) / max(1, sum(map(torch.numel, weights.values())))
    if share < _MIN_SHARE_TAKEN:
        raise SimScaleError(f"cannot start from {folder}: only {share:.0%} of the weights fit; give the same sizes")
    policy.model.load_state_dict(weights | fitting)
    return replace(policy, processor=initial.processor, initial=initial, share_taken=share)


def _comparable(needs: Needs) -> dict[str, Any]:
    """Return the needs as JSON data without the environments."""
    return {name: value for name, value in needs.to_json().items() if name != "environments"}
