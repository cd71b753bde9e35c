"""Builds the policy for a value of `--model`: a name, a checkpoint folder, or `module:attribute`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.base import EnvSpec, Policy
from policies.foreign.hosted import EXPERT, PREFIX, HostedPolicy
from policies.foreign.libraries import find_library, library_names, library_of
from policies.foreign.remote import remote_policy
from policies.learned.devices import Device, check_device
from policies.options import EXECUTION_OPTIONS, check_execution, option_value
from policies.user_code import PolicyFactory, build_from_factory, find_factory, identified
from simscaleai.assets import asset_path
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.extensions.entry_points import entry_point_names, load_entry_point

if TYPE_CHECKING:
    from simscaleai.checkpoint import Checkpoint

URLS = ("ws://", "wss://")
"""What the address of a policy server begins with."""

ENTRY_POINTS = "simscaleai.policies"
"""Group of entry points through which other packages add policies."""

SHIPPED = "checkpoints"
"""Folder under assets/ that holds the shipped checkpoints, each named after its model and what it was made for."""

PREFERRED = ("vla-robust",)
"""Shipped checkpoints that the name of their model selects before all others."""

_PREFIXES = (PREFIX.removesuffix(":"), *(url.partition(":")[0] for url in URLS))
"""Words before a colon that name a kind of policy, beside the names of libraries."""

_FORMS = ("file.py:function", "lerobot:FOLDER", "sb3:FILE.zip", "ws://HOST:PORT")


def make_policy(
    model: str,
    *,
    spec: EnvSpec | None,
    checkpoint: Path | None = None,
    options: Mapping[str, str] | None = None,
    device: Device | None = None,
) -> Policy:
    """Build the policy that `--model` names, for one environment.

    `model` is one of:

    * the name of a policy without weights ("scripted", "random", …), or of an entry point;
    * the name of a model ("bc", "vla"), which runs `checkpoint`, by default a shipped checkpoint of this model;
    * the name of a shipped checkpoint, or a checkpoint folder;
    * "module:attribute" or "file.py:attribute": a function that takes an observation and returns an action, a class
      with `reset` and `act` (see `policies.foreign.agents`), a callable that takes an `EnvSpec` and returns a policy,
      or the model class of `checkpoint`;
    * "host:module:attribute", a policy in the interpreter of a hosted environment (see `policies.foreign.hosted`);
    * "lerobot:FOLDER" or "sb3:FILE", a policy of another library (see `policies.foreign.libraries`);
    * "ws://HOST:PORT", the policy of a server that speaks the openpi protocol (see `policies.foreign.openpi`).

    Args:
        model: See above.
        spec: Specification of the environment; None for a checkpoint, which knows what it was made for.
        checkpoint: Folder with the weights of a learned policy.
        options: Values of options by name, as typed by the user. Numbers are recognised.
        device: Where a policy with weights computes; see `policies.learned.adapter.PolicyAdapter`.

    Raises:
        SimScaleError: If the name, the folder, an option or their combination is invalid.
    """
    values = {name: option_value(name, text) for name, text in (options or {}).items()}
    check_execution(values)
    if model.partition(":")[0] in library_names():
        return _policy_of_library(model, checkpoint, _required(spec, model), values, device)
    if device is not None:
        _check_has_weights(model, checkpoint)
    if model.startswith(PREFIX):
        return _hosted_policy(model.removeprefix(PREFIX), checkpoint, _required(spec, model), values)
    if model.startswith(URLS):
        return _served_policy(model, checkpoint, _required(spec, model), values)
    if model in BUILT_IN or _is_of_another_package(model):
        if checkpoint is not None:
            raise SimScaleError(f"policy {model!r} has no weights; leave out --checkpoint or name a learned model")
        factory, module = _named_factory(model)
        policy = build_from_factory(model, factory, _required(spec, model), values)
        return identified(model, policy, module or type(policy).__module__)
    if checkpoint is None and ":" in model and not Path(model).exists():
        _check_prefix(model)
        factory, module = find_factory(model)
        return identified(model, build_from_factory(model, factory, _required(spec, model), values), module)
    if checkpoint is None and (library := library_of(Path(model))):
        raise SimScaleError(f"{model} is a policy of another library; say --model {library}:{model}")
    return _learned_policy(model, checkpoint, spec, values, device)


def _check_prefix(model: str) -> None:
    """Raise if a path follows the first colon: no attribute has a slash, so the word before it should be a kind."""
    kind, _, place = model.partition(":")
    if "/" in place and "/" not in kind and not kind.endswith(".py"):
        raise UnknownNameError("kind of policy", kind, [*library_names(), *_PREFIXES])


def _check_has_weights(model: str, checkpoint: Path | None) -> None:
    """Raise if `model` is no learned policy of this project, so that there is nothing to place on a device."""
    is_code = checkpoint is None and ":" in model and not Path(model).exists()
    if is_code or model in BUILT_IN or _is_of_another_package(model):
        raise SimScaleError(
            f"--device says where the weights of a learned policy compute, and {model!r} computes in its own code; "
            "leave out --device"
        )


def _required(spec: EnvSpec | None, model: str) -> EnvSpec:
    if spec is None:
        raise SimScaleError(f"expected --env with --model {model}, got none: the policy is made for an environment")
    return spec


def _policy_of_library(
    model: str, checkpoint: Path | None, spec: EnvSpec, options: Mapping[str, Any], device: Device | None
) -> Policy:
    library, _, place = model.partition(":")
    if checkpoint is not None or not place:
        without = ", without --checkpoint" if checkpoint is not None else ""
        raise SimScaleError(f"expected --model {library}:PATH{without}, got {model}")
    if device is not None:
        check_device(device)
        options = {"device": device, **options}
    return remote_policy(find_library(library), place, spec, options)


def _hosted_policy(name: str, checkpoint: Path | None, spec: EnvSpec, options: Mapping[str, Any]) -> Policy:
    if checkpoint is not None or options or (":" not in name and name != EXPERT):
        raise SimScaleError(
            f"expected --model {PREFIX}module:attribute or {PREFIX}{EXPERT}, without --checkpoint and --policy-option, "
            f"got {PREFIX}{name}"
        )
    return HostedPolicy(name, spec)


def _served_policy(url: str, checkpoint: Path | None, spec: EnvSpec, options: Mapping[str, Any]) -> Policy:
    from policies.foreign.openpi.policy import served_policy

    if checkpoint is not None:
        raise SimScaleError(f"the server at {url} has its own weights; leave out --checkpoint")
    return served_policy(url, spec, options)


def _is_of_another_package(model: str) -> bool:
    """Return whether `model` names an entry point of another package. Names of this project come first."""
    from simscaleai.models.registry import list_models

    own = (*BUILT_IN, *list_models(), *(folder.name for folder in shipped_checkpoints()))
    return model not in own and model in entry_point_names(ENTRY_POINTS)


def _named_factory(model: str) -> tuple[PolicyFactory, str]:
    """Return the factory of the policy `model`, and the name of its module; "" for a built-in policy."""
    if model in BUILT_IN:
        return BUILT_IN[model], ""
    from policies.foreign.agents import agent_factory

    loaded = load_entry_point(ENTRY_POINTS, model)
    factory: PolicyFactory = agent_factory(model, loaded) or loaded
    return factory, entry_point_names(ENTRY_POINTS)[model].partition(":")[0].strip()


# Checkpoints


def _learned_policy(
    model: str, checkpoint: Path | None, spec: EnvSpec | None, options: Mapping[str, Any], device: Device | None
) -> Policy:
    from policies.learned.adapter import PolicyAdapter
    from simscaleai.checkpoint import load_checkpoint

    for name in options:
        if name not in EXECUTION_OPTIONS:
            raise UnknownNameError("policy option", name, EXECUTION_OPTIONS)
    if checkpoint is None and (named := _named_folder(model)):
        return PolicyAdapter(load_checkpoint(named), device=device, **options)
    folder = checkpoint or _shipped_checkpoint(model, spec.env_id if spec else None)
    module, _, own_class = model.partition(":")
    loaded = load_checkpoint(folder, module=model if own_class else None)
    _check_model_name(model, loaded, folder)
    policy = PolicyAdapter(loaded, device=device, **options)
    return identified(model, policy, module) if own_class else policy


def _named_folder(model: str) -> Path | None:
    """Return the checkpoint folder with the path or the shipped name `model`; None if `model` names no checkpoint.

    The name of a model or of a shipped checkpoint means the same in every working directory: a local folder with this
    name is ignored. If that folder is a checkpoint, the name is ambiguous, and an error asks the user to choose.
    """
    from simscaleai.models.registry import list_models

    shipped = {folder.name: folder for folder in shipped_checkpoints()}
    here = Path(model)
    if model not in shipped and model not in list_models():
        return here if here.is_dir() else None
    if (here / "config.json").exists():
        raise SimScaleError(
            f"{model!r} is a name and a checkpoint folder here; say --model ./{model} for the folder, "
            "or rename the folder to use the name"
        )
    return shipped.get(model)


def _check_model_name(model: str, loaded: Checkpoint, folder: Path) -> None:
    if loaded.model_name != model:
        name = loaded.model_name
        raise SimScaleError(f"{folder} holds a {name!r} model, not {model!r}; say --model {name}")


def _shipped_checkpoint(model: str, env_id: str | None) -> Path:
    """Return the shipped checkpoint of `model` for the environment: a preferred one, or else the first by name.

    Without an environment, any will do.
    """
    from simscaleai.checkpoint import read_checkpoint_config
    from simscaleai.models.registry import list_models

    if model not in list_models():
        names = [folder.name for folder in shipped_checkpoints()]
        raise UnknownNameError(
            "policy", model, [*BUILT_IN, *entry_point_names(ENTRY_POINTS), *list_models(), *names, *_FORMS]
        )
    for folder in sorted(shipped_checkpoints(), key=lambda folder: folder.name not in PREFERRED):
        config = read_checkpoint_config(folder)
        if config.model.name == model and (env_id is None or env_id in (config.needs.environments or ())):
            return folder
    raise SimScaleError(
        f"no shipped {model!r} checkpoint serves {env_id or 'anything'}; train one and name it with --checkpoint"
    )


def shipped_checkpoints() -> list[Path]:
    """Return the folders of the shipped checkpoints, sorted by name."""
    return sorted(path.parent for path in asset_path(SHIPPED).glob("*/config.json"))


# Policies without weights


def _scripted(spec: EnvSpec) -> Policy:
    from policies.scripted.experts import EXPERTS

    return _for_environment("scripted expert", EXPERTS, spec)


def _pusher(spec: EnvSpec) -> Policy:
    from policies.scripted.experts import PUSHERS

    return _for_environment("pusher", PUSHERS, spec)


def _for_environment(kind: str, policies: Mapping[str, PolicyFactory], spec: EnvSpec) -> Policy:
    if spec.env_id not in policies:
        raise SimScaleError(f"no {kind} for {spec.env_id}; there is one for: {', '.join(policies)}")
    return policies[spec.env_id](spec)


def _random(spec: EnvSpec) -> Policy:
    from policies.scripted.controls import RandomPolicy

    return RandomPolicy(spec)


def _zero(spec: EnvSpec) -> Policy:
    from policies.scripted.controls import ZeroPolicy

    return ZeroPolicy(spec)


BUILT_IN: dict[str, PolicyFactory] = {"scripted": _scripted, "random": _random, "zero": _zero, "pusher": _pusher}
"""Factories of the policies without weights, by name."""
