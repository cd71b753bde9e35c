"""Policies by name, checkpoint folder, or `module:attribute`: what `--model` accepts."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from envs.interface import Contract, asset_path
from policies.base import Policy
from simscaleai.errors import SimScaleError, UnknownNameError

if TYPE_CHECKING:
    from simscaleai.checkpoint import Checkpoint

PolicyFactory = Callable[[Contract], Policy]

SHIPPED = "checkpoints"
"""Folder under assets/ that holds the shipped checkpoints, each named after its model and what it serves."""


def make_policy(model: str, *, checkpoint: Path | None, environment: Contract) -> Policy:
    """Build the policy that `--model` names, for one environment.

    Args:
        model: "scripted", "random", "zero"; a model's name ("bc", "vla"), with `checkpoint` or the shipped one; a
            shipped checkpoint's name; a checkpoint folder; or "module:attribute", a callable that takes the
            environment's contract and returns a policy, or a model class that `checkpoint` was trained from.
        checkpoint: Folder of a learned policy's weights.
        environment: What the environment offers; exactly one entry in `environments`.

    Raises:
        SimScaleError: If the name, the folder or the combination does not work.
    """
    if model in SCRIPTED:
        if checkpoint is not None:
            raise SimScaleError(f"policy {model!r} has no weights; leave out --checkpoint or name a learned model")
        return SCRIPTED[model](environment)
    if checkpoint is None and ":" in model and not Path(model).exists():
        return _from_attribute(model, environment)
    return _learned_policy(model, checkpoint, environment)


def _learned_policy(model: str, checkpoint: Path | None, environment: Contract) -> Policy:
    from policies.adapter import PolicyAdapter
    from simscaleai.checkpoint import load_checkpoint

    if checkpoint is None and (named := _named_folder(model)):
        return PolicyAdapter(load_checkpoint(named))
    folder = checkpoint or _shipped_checkpoint(model, environment)
    loaded = load_checkpoint(folder, module=model if ":" in model else None)
    _check_model_name(model, loaded, folder)
    return PolicyAdapter(loaded)


def _named_folder(model: str) -> Path | None:
    """Return the checkpoint folder that `model` is the path or the shipped name of; None for the name of a model.

    A name means the same wherever one stands: a folder that happens to be called so (a run, a dataset) is no rival. A
    checkpoint is, and which of the two was meant must not be guessed.
    """
    from simscaleai.models.registry import list_models

    shipped = {folder.name: folder for folder in shipped_checkpoints()}
    here = Path(model)
    if model not in shipped and model not in list_models():
        return here if here.is_dir() else None
    if (here / "config.json").exists():
        raise SimScaleError(
            f"{model!r} is a name and a checkpoint folder here; say --model ./{model} for the folder, "
            "or rename it to have what the name stands for"
        )
    return shipped.get(model)


def _check_model_name(model: str, loaded: Checkpoint, folder: Path) -> None:
    if loaded.model_name != model:
        name = loaded.model_name
        raise SimScaleError(f"{folder} holds a {name!r} model, not {model!r}; say --model {name}")


def _shipped_checkpoint(model: str, environment: Contract) -> Path:
    """Return the first shipped checkpoint of `model` whose contract lists the environment."""
    from simscaleai.models.registry import list_models

    (env_id,) = environment.environments
    if model not in list_models():
        names = [folder.name for folder in shipped_checkpoints()]
        raise UnknownNameError("policy", model, [*SCRIPTED, *list_models(), *names])
    for folder in shipped_checkpoints():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["model"]["name"] == model and env_id in config["contract"]["environments"]:
            return folder
    raise SimScaleError(f"no shipped {model!r} checkpoint serves {env_id}; train one and name it with --checkpoint")


def shipped_checkpoints() -> list[Path]:
    """Return the folders of the shipped checkpoints, sorted by name."""
    return sorted(path.parent for path in asset_path(SHIPPED).glob("*/config.json"))


def _from_attribute(name: str, environment: Contract) -> Policy:
    module_name, _, attribute = name.partition(":")
    try:
        factory = cast(PolicyFactory, getattr(importlib.import_module(module_name), attribute))
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise SimScaleError(f"cannot use policy {name!r}: {error}; expected an importable module:attribute") from error
    policy = factory(environment) if callable(factory) else None
    lacking = [part for part in ("contract", "reset", "needs_observation", "act") if not hasattr(policy, part)]
    if lacking:
        raise SimScaleError(f"{name!r} does not make a policy when called with a contract: no {', '.join(lacking)}")
    return policy


def _scripted(environment: Contract) -> Policy:
    from policies.scripted import EXPERTS

    return _for_environment("scripted expert", EXPERTS, environment)


def _pusher(environment: Contract) -> Policy:
    from policies.scripted import PUSHERS

    return _for_environment("pusher", PUSHERS, environment)


def _for_environment(kind: str, policies: Mapping[str, PolicyFactory], environment: Contract) -> Policy:
    (env_id,) = environment.environments
    if env_id not in policies:
        raise SimScaleError(f"no {kind} for {env_id}; there is one for: {', '.join(policies)}")
    return policies[env_id](environment)


def _random(environment: Contract) -> Policy:
    from policies.baselines import RandomPolicy

    return RandomPolicy(environment)


def _zero(environment: Contract) -> Policy:
    from policies.baselines import ZeroPolicy

    return ZeroPolicy(environment)


SCRIPTED: dict[str, PolicyFactory] = {"scripted": _scripted, "random": _random, "zero": _zero, "pusher": _pusher}
"""Policies without weights: name to what builds them for an environment."""
