"""Registry of models: lists, adds and builds them by name. Importing it does not import torch.

Built-in models are registered as "module:attribute" and imported when they are used. A user's own model is registered
with the decorator `register_model`, or used without registration as `package.module:Class`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from simscaleai.errors import SimScaleError, UnknownNameError

if TYPE_CHECKING:
    from torch import nn

    ModelClass = TypeVar("ModelClass", bound=type[nn.Module])

_MODELS: dict[str, str | type[nn.Module]] = {
    "bc": "simscaleai.models.bc:BehaviorCloning",
    "vla": "simscaleai.models.vla:VisionLanguageAction",
}


def register_model(name: str) -> Callable[[ModelClass], ModelClass]:
    """Return a class decorator that makes a model available as `name`.

    The same class may be registered again, for example by a notebook cell that runs twice. Another class may not take
    its name.

    Args:
        name: Name that users type. It must not contain ":", which marks `package.module:Class`.

    Raises:
        SimScaleError: If the name belongs to another model or contains ":".
    """

    def register(model_class: ModelClass) -> ModelClass:
        taken = _MODELS.get(name)
        if taken is not None and _path(taken) != _path(model_class):
            raise SimScaleError(
                f"model name {name!r} belongs to {_path(taken)}; give {_path(model_class)} another name"
            )
        _MODELS[name] = model_class
        return model_class

    if not name or ":" in name:
        raise SimScaleError(f"a model name must be non-empty and without ':', got {name!r}")
    return register


def list_models() -> list[str]:
    """Return the registered names in alphabetical order."""
    return sorted(_MODELS)


def resolve_model(name: str) -> type[nn.Module]:
    """Return the class behind a registered name or behind `package.module:Class`.

    Raises:
        UnknownNameError: If the name is not registered.
        SimScaleError: If `package.module:Class` cannot be imported or is not a torch module class.
    """
    if ":" in name:
        return _import(name)
    if name not in _MODELS:
        raise UnknownNameError("model", name, _MODELS)
    entry = _MODELS[name]
    return _import(entry) if isinstance(entry, str) else entry


def create_model(name: str, **arguments: Any) -> nn.Module:
    """Build a model by name.

    Args:
        name: A registered name or `package.module:Class`.
        **arguments: Arguments of the model's constructor.

    Raises:
        UnknownNameError: If the model, or one of its arguments, is unknown.
    """
    model_class = resolve_model(name)
    parameters = inspect.signature(model_class).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for argument in arguments:
            if argument not in parameters:
                raise UnknownNameError(f"argument of model {name}:", argument, parameters)
    return model_class(**arguments)


class ModelRegistry:
    """The registry for users: `ModelRegistry.list()` and `ModelRegistry.create("vla", embed_dim=128)`.

    The two built-in names stand for three architectures: BC, VLA with the MLP head, VLA with the diffusion head.
    """

    list = staticmethod(list_models)
    create = staticmethod(create_model)
    register = staticmethod(register_model)


def _path(entry: str | type[nn.Module]) -> str:
    return entry if isinstance(entry, str) else f"{entry.__module__}:{entry.__qualname__}"


def _import(path: str) -> type[nn.Module]:
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise SimScaleError(f"cannot import {module_name!r} for model {path!r}: {error}") from error
    if not hasattr(module, attribute):
        raise UnknownNameError(f"model in {module_name}:", attribute, _module_classes(module))
    found = getattr(module, attribute)
    if not _is_module_class(found):
        raise SimScaleError(f"model {path!r} must be a subclass of torch.nn.Module, got {found!r}")
    return found


def _is_module_class(candidate: object) -> TypeGuard[type[nn.Module]]:
    from torch import nn

    return isinstance(candidate, type) and issubclass(candidate, nn.Module)


def _module_classes(module: object) -> list[str]:
    return [name for name, value in vars(module).items() if _is_module_class(value)]
