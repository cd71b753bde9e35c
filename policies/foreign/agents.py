"""Functions and classes of users as policies. They import nothing of this project.

A function takes one observation and returns one action or one chunk of actions. A class has `reset(seed, instruction)`
and `act(observation)`; every slot has an instance of its own. Both say what they need in one line::

    def act(observation):
        return -observation["state"][:2]


    act.needs = {"state": None, "front": (96, 96)}
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.base import Chunks, EnvSpec, Needs, Observation, Policy, Slots
from simscaleai.errors import SimScaleError, UnknownNameError

INSTRUCTION = "instruction"
"""Key of the instruction in an observation, a text; "" if the environment gives none."""

_AGENT = {"reset": "reset(self, seed, instruction)", "act": "act(self, observation)"}
"""Methods of an agent."""

IMAGE_SIZE = (96, 96)
"""Height and width of images [px], if neither the user nor the environment says it."""


class Agent(Protocol):
    """What a user's class has: memory of one episode."""

    def reset(self, seed: int, instruction: str) -> object:
        """Prepare for a new episode."""
        ...

    def act(self, observation: dict[str, Any]) -> Any:
        """Return one action (A,) or one chunk of actions (H, A)."""
        ...


class AgentPolicy(Policy):
    """Asks one agent per slot, one observation at a time."""

    def __init__(self, spec: EnvSpec, make_agent: Callable[[], Agent], needs: Needs) -> None:
        """Make an agent for each slot when it is first used."""
        self.needs = needs
        self._make_agent, self._action_size = make_agent, spec.action.size
        self._agents: dict[int, Agent] = {}
        self._instructions: dict[int, str] = {}

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Reset the agents of `slots`."""
        for slot, seed, instruction in zip(slots.tolist(), seeds, instructions, strict=True):
            if slot not in self._agents:
                self._agents[slot] = self._make_agent()
            self._agents[slot].reset(seed, instruction)
            self._instructions[slot] = instruction

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the answers of the agents of `slots`, float32 (n, H, A).

        Raises:
            TypeError: If an answer is neither an action nor a chunk, or chunks have different lengths.
        """
        chunks = []
        for row, slot in enumerate(slots.tolist()):
            seen = {key: rows[row].copy() for key, rows in observation.items()}
            answer = self._agents[slot].act({**seen, INSTRUCTION: self._instructions[slot]})
            chunks.append(self._chunk(answer))
        if len({len(chunk) for chunk in chunks}) > 1:
            raise TypeError(f"expected chunks of the same length, got {sorted({len(chunk) for chunk in chunks})}")
        return np.stack(chunks)

    def _chunk(self, answer: Any) -> NDArray[np.float32]:
        size = self._action_size
        expected = f"expected an action of shape ({size},) or a chunk of shape (H, {size})"
        if isinstance(answer, Policy):
            raise TypeError(f"{expected}, got a policy; a function that makes a policy calls its first argument `spec`")
        try:
            values = np.asarray(answer, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{expected}, got {type(answer).__name__}") from error
        if values.shape == () and size == 1:
            values = values.reshape(1)
        if values.shape[-1:] != (size,) or values.ndim > 2 or not values.size:
            raise TypeError(f"{expected}, got shape {values.shape}")
        return values.reshape(-1, size)


def agent_factory(name: str, value: Any) -> Callable[..., AgentPolicy] | None:
    """Return a function that makes the policy of a user's function or class; None if `value` is none of these.

    A class with `act` is an agent. A function whose first argument is not called `spec` is one, too. The other
    arguments of the function, or of the constructor, are options.

    Args:
        name: Name of the policy, for messages.
        value: The user's object.

    Raises:
        SimScaleError: If a class has only one of `reset` and `act`, if one of them takes other arguments, or if a class
            with `predict` cannot be made with an `EnvSpec`.
    """
    if isinstance(value, type):
        lacking = [method for method in _AGENT if not hasattr(value, method)]
        if hasattr(value, "predict") and not _parameters(value):
            written = " and ".join(_AGENT.values())
            raise SimScaleError(f"class {name!r} is no policy: add {written}, or take an EnvSpec in __init__")
        if len(lacking) == len(_AGENT) or hasattr(value, "predict"):
            return None
        if lacking:
            raise SimScaleError(f"class {name!r} has no {lacking[0]}; add {_AGENT[lacking[0]]}")
        _check_arguments(name, value)
        self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        return _Factory(name, value, value, [self, *_parameters(value)])
    parameters = _parameters(value)
    if not parameters or parameters[0].name == "spec" or hasattr(value, "predict"):
        return None
    return _Factory(name, value, partial(_Stateless, value), parameters)


def _check_arguments(name: str, agent: type) -> None:
    """Raise `SimScaleError` if a method of the class `agent`, written in Python, does not take its arguments."""
    for method, written in _AGENT.items():
        function = inspect.getattr_static(agent, method)
        if not inspect.isfunction(function):
            continue
        try:
            inspect.signature(function).bind(*[None] * (written.count(",") + 1))
        except TypeError as error:
            raise SimScaleError(f"{method} of class {name!r}: {error}; expected {written}") from None


class _Factory:
    """Makes the policy of one function or class."""

    def __init__(
        self, name: str, value: Any, make_agent: Callable[..., Agent], parameters: Sequence[inspect.Parameter]
    ) -> None:
        """Prepare. All `parameters` of the user's function but the first are options."""
        self._name, self._value, self._make_agent = name, value, make_agent
        self.__signature__ = inspect.Signature(parameters)

    def __call__(self, spec: EnvSpec, /, **options: Any) -> AgentPolicy:
        try:
            self.__signature__.bind(spec, **options)
        except TypeError as error:
            given = "give it a default, or a value with --policy-option NAME=VALUE"
            raise SimScaleError(f"policy {self._name!r}: {error}; {given}") from None
        declared = getattr(self._value, "needs", None)
        needs = _everything(spec) if declared is None else _declared_needs(self._name, declared, spec)
        return AgentPolicy(spec, partial(self._make_agent, **options), needs)


class _Stateless:
    """A function as an agent without memory."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self._function, self._options = function, options

    def reset(self, seed: int, instruction: str) -> None:
        """There is no memory to clear."""

    def act(self, observation: dict[str, Any]) -> Any:
        """Return the answer of the function."""
        return self._function(observation, **self._options)


def _parameters(value: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):  # not callable, or written in C
        return []


def _everything(spec: EnvSpec) -> Needs:
    """Return the needs of a user's policy that declares none: all but simulator truth."""
    return Needs(
        vectors={key: layout for key, layout in spec.vectors.items() if not layout.privileged},
        cameras={camera: size or IMAGE_SIZE for camera, size in spec.cameras.items()},
        instruction=spec.has_instructions,
    )


def _declared_needs(name: str, declared: Any, spec: EnvSpec) -> Needs:
    """Return the needs that a user declared: key of a vector or a camera to None, or to the (height, width) of images.

    Raises:
        SimScaleError: If the declaration has another form.
        UnknownNameError: If the environment has no such vector or camera.
    """
    if not isinstance(declared, Mapping):
        example = '{"state": None, "front": (96, 96)}'
        raise SimScaleError(f"expected needs of {name!r} such as {example}, got {declared!r:.80}")
    cameras, vectors = {}, []
    for key, size in declared.items():
        if key in spec.cameras:
            cameras[key] = _size(name, key, size) or spec.cameras[key] or IMAGE_SIZE
        elif key in spec.vectors:
            vectors.append(key)
        elif key != INSTRUCTION:
            raise UnknownNameError("observation", key, [*spec.vectors, *spec.cameras, INSTRUCTION])
    return Needs(
        vectors={key: spec.vectors[key] for key in vectors}, cameras=cameras, instruction=INSTRUCTION in declared
    )


def _size(name: str, camera: str, size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    try:
        height, width = (int(length) for length in size)
    except (TypeError, ValueError):
        raise SimScaleError(
            f"expected the size of camera {camera!r} in the needs of {name!r} as (height, width), got {size!r:.80}"
        ) from None
    return height, width
