"""Interventions: giving a policy something else than what the scene shows, to learn what it goes by.

    python -m eval.rollout --model vla --env pick-place-language --intervene language=shuffled vision=black

A policy that follows instructions moves the cube that it was told to move, whichever it is; one that looks fails in
the dark. The scene of a seed stays what it is, and so does what counts as success, except that `target=` names the
cube to move. All draws come from streams of the episode's seed, so an episode remains a function of policy,
environment, seed and interventions.

`target` and `language` change the plan: the environment hands the words on, and the episode's record holds them.
`vision` and `state` stand between the environment and the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.interface import Contract, ObservationArrays
from eval.assembly import build_environment
from eval.plan import TEST_SEEDS, EpisodeSpec
from policies.adapter import PolicyAdapter
from policies.base import Policy
from simscaleai.errors import SimScaleError, UnknownNameError

if TYPE_CHECKING:
    from envs.pick_place_language import PickPlaceLanguage

MEANINGS: dict[str, dict[str, str]] = {
    "target": {},
    "language": {
        "empty": "the policy gets no instruction",
        "shuffled": "the policy gets the instruction of another seed, whose target is drawn independently",
        "held-out": "the policy gets the instruction in a phrasing that no episode otherwise has",
    },
    "vision": {
        "black": "the policy sees black images",
        "other-seed": "the policy sees, all the time, the first image of another seed's scene",
        "frozen": "the policy sees, all the time, the first image of its episode",
    },
    "state": {"zero": "the robot's state reaches the policy as zeros"},
}
"""What can be intervened on, to the names of what can be done and their meanings. A `target` is one of the task's; a
`language` of several words is itself what the policy is told, `{target}` replaced by the target."""

TARGET = "{target}"
"""Stands for the target in the words of a `language`."""

_STREAMS = {"language": 0x4C414E47, "vision": 0x56495349}
"""Keeps the draws of another seed apart from each other and from the streams of environment and policy."""


ImageSource = Callable[[int], NDArray[np.uint8] | None]
"""Seed of an episode to the image (H, W, C) that the policy sees throughout it; None for the first that it looks at."""


class InterventionError(SimScaleError):
    """An intervention that there is not, or that would change nothing."""


@dataclass(frozen=True, kw_only=True)
class Interventions:
    """What a policy is given instead of what the scene shows; None for what it gets as it is."""

    target: str | None = None
    """Object that every episode is to move."""
    language: str | None = None
    """A name among `MEANINGS`, or the words themselves."""
    vision: str | None = None
    """A name among `MEANINGS`."""
    state: str | None = None
    """A name among `MEANINGS`."""

    def texts(self) -> tuple[str, ...]:
        """Return the interventions as a user writes them, in the order of the fields."""
        return tuple(f"{kind}={value}" for kind, value in asdict(self).items() if value is not None)

    def meaning(self) -> str:
        """Return what is done, in words for people; "" if nothing is."""
        return "; ".join(_meaning(kind, value) for kind, value in asdict(self).items() if value is not None)

    def prepare(self, policy: Policy, env_id: str) -> None:
        """Make `policy` take what it otherwise refuses, sure that every intervention changes something.

        Args:
            policy: As it is built, with nothing standing before it.
            env_id: Full id of the environment.

        Raises:
            InterventionError: If the policy has no such input, or the task has no choice of targets.
            UnknownNameError: If the task has no such target.
        """
        self._check_inputs(policy.contract)
        self._check_task(env_id)
        if isinstance(policy, PolicyAdapter):
            policy.accepts_empty_instructions = self.language == "empty"
            policy.accepts_constant_images = self.vision == "black"

    def _check_inputs(self, contract: Contract) -> None:
        if self.language is not None and not contract.language:
            raise InterventionError(f"language={self.language} changes nothing: the policy reads no instructions")
        if self.vision is not None and not contract.cameras:
            raise InterventionError(f"vision={self.vision} changes nothing: the policy sees no images")

    def _check_task(self, env_id: str) -> None:
        if self.target is not None:
            targets = _task_with_choice(env_id, f"target={self.target}").colours
            if self.target not in targets:
                raise UnknownNameError("target", self.target, targets)
        if self._needs_targets:
            _task_with_choice(env_id, f"language={self.language}")

    @property
    def _needs_targets(self) -> bool:
        """Whether the words follow from a target."""
        return self.language in ("shuffled", "held-out") or TARGET in (self.language or "")

    def planned(self, plan: Sequence[EpisodeSpec], env_id: str) -> tuple[EpisodeSpec, ...]:
        """Return `plan` with targets and words as this intervenes on them."""
        return tuple(self._planned(spec, env_id) for spec in plan)

    def _planned(self, spec: EpisodeSpec, env_id: str) -> EpisodeSpec:
        if self.target is not None:
            spec = replace(spec, target=self.target)
        if self.language is not None:
            spec = replace(spec, instruction=self._instruction(spec, env_id))
        return spec

    def _instruction(self, spec: EpisodeSpec, env_id: str) -> str:
        if self.language == "empty":
            return ""
        if not self._needs_targets:
            return self.language or ""
        task = _task_with_choice(env_id, f"language={self.language}")
        if self.language == "shuffled":
            other = other_seed(spec.seed, "language")
            return task.phrase(task.choose_target(other), other)
        target = task.choose_target(spec.seed, spec.target)
        if self.language == "held-out":
            return task.phrase_held_out(target, spec.seed)
        return (self.language or "").replace(TARGET, target)

    def stand_before(self, policy: Policy, env_id: str) -> Policy:
        """Return a policy that gives `policy` other images and states; `policy` itself if those stay as they are.

        Args:
            policy: What was prepared, or something that passes everything on to it.
            env_id: Full id of the environment.
        """
        if self.vision is None and self.state is None:
            return policy
        images = None if self.vision is None else _IMAGES[self.vision](policy.contract, env_id)
        return IntervenedPolicy(policy, images, zero_state=self.state == "zero")


def parse_interventions(texts: Sequence[str]) -> Interventions:
    """Return what `texts` say, each `kind=value`, for example "vision=black".

    Raises:
        InterventionError: If one has another form, or a kind comes twice.
        UnknownNameError: If there is no such kind or value.
    """
    parsed: dict[str, str] = {}
    for text in texts:
        kind, equals, value = text.partition("=")
        if kind not in MEANINGS:
            raise UnknownNameError("intervention", kind, MEANINGS)
        if not (equals and value.strip()):
            raise InterventionError(f"expected {kind}=…, got {text!r}; {_choices(kind)}")
        if kind in parsed:
            raise InterventionError(f"expected one intervention on {kind}, got {parsed[kind]!r} and {value!r}")
        parsed[kind] = _checked(kind, value)
    return Interventions(**parsed)


def choice_of_targets(env_id: str) -> tuple[str, ...]:
    """Return what episodes of the environment `env_id` may be to move, as their instructions say; () without a choice.

    Raises:
        UnknownChoiceError: If there is no such environment.
    """
    task = _find_language_task(env_id)
    return () if task is None else task.colours


def other_seed(seed: int, stream: str) -> int:
    """Return another seed than `seed`, drawn from it, uniform among the test seeds: nobody was trained on those.

    Args:
        seed: Seed of the episode.
        stream: "language" or "vision"; draws for one are independent of draws for the other.
    """
    draw = int(np.random.default_rng([seed, _STREAMS[stream]]).integers(len(TEST_SEEDS) - 1))
    return draw + (draw >= seed)


class IntervenedPolicy:
    """Stands before a policy and gives it other images, or a state of zeros, than there are."""

    def __init__(self, policy: Policy, images: ImageSource | None, *, zero_state: bool) -> None:
        """Stand before `policy`.

        Args:
            policy: What is evaluated.
            images: What the policy sees; None leaves the images as they are.
            zero_state: Whether the state is given as zeros.
        """
        self.contract = policy.contract
        self._policy, self._images, self._zero_state = policy, images, zero_state
        self._held: dict[int, NDArray[np.uint8]] = {}
        """Slot to what it sees until its episode ends."""

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Reset the policy and choose the images of its new episodes."""
        for slot, seed in zip(env_ids.tolist(), seeds, strict=True):
            self._held.pop(slot, None)
            image = self._images(seed) if self._images else None
            if image is not None:
                self._held[slot] = image
        self._policy.reset(env_ids, seeds, instructions)

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return in which slots the policy looks at an image that is not held yet, (n,)."""
        unknown = np.array([slot not in self._held for slot in env_ids.tolist()], dtype=bool)
        return np.asarray(self._policy.needs_observation(env_ids) & unknown)

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the policy's actions for what it is given instead of `observation`."""
        if self._images:
            observation = observation | {"image": self._given_images(observation["image"], env_ids)}
        if self._zero_state:
            observation = observation | {"state": np.zeros_like(observation["state"])}
        return self._policy.act(observation, env_ids)

    def _given_images(self, images: NDArray[np.uint8], env_ids: NDArray[np.intp]) -> NDArray[np.uint8]:
        slots: list[int] = env_ids.tolist()
        for row in np.flatnonzero(self.needs_observation(env_ids)).tolist():
            self._held[slots[row]] = images[row].copy()
        # A slot that holds none does not look: its row may be anything.
        return np.stack([self._held.get(slot, image) for slot, image in zip(slots, images, strict=True)])


def _black(contract: Contract, env_id: str) -> ImageSource:
    image = np.zeros((*(contract.image_size or (0, 0)), 3 * len(contract.cameras)), dtype=np.uint8)
    return lambda seed: image


def _frozen(contract: Contract, env_id: str) -> ImageSource:
    return lambda seed: None


def _other_scene(contract: Contract, env_id: str) -> ImageSource:
    env = build_environment(contract, env_id, 1, num_threads=1)

    def draw(seed: int) -> NDArray[np.uint8]:
        env.reset(seed=[other_seed(seed, "vision")])
        image: NDArray[np.uint8] = env.render_images(np.ones(1, dtype=bool))[0]
        return image

    return draw


_IMAGES: dict[str, Callable[[Contract, str], ImageSource]] = {
    "black": _black,
    "other-seed": _other_scene,
    "frozen": _frozen,
}


def _find_language_task(env_id: str) -> type[PickPlaceLanguage] | None:
    from envs.pick_place_language import PickPlaceLanguage
    from envs.registration import find_task

    task = find_task(env_id)
    return task if issubclass(task, PickPlaceLanguage) else None


def _task_with_choice(env_id: str, text: str) -> type[PickPlaceLanguage]:
    """Return the task of the environment `env_id`; refuse one without a choice of what to move."""
    task = _find_language_task(env_id)
    if task is None:
        raise InterventionError(f"{text} needs a task with several targets, such as pick-place-language, not {env_id}")
    return task


def _checked(kind: str, value: str) -> str:
    """Return `value` unless it is one word that is no name: a misspelt name must not become an instruction."""
    names = MEANINGS[kind]
    if kind == "target" or value in names or (kind == "language" and " " in value.strip()):
        return value
    raise UnknownNameError(f"{kind} intervention", value, names)


def _choices(kind: str) -> str:
    names = ", ".join(MEANINGS[kind]) or "the colour of a cube"
    return f"choose from: {names}{', or several words' if kind == 'language' else ''}"


def _meaning(kind: str, value: str) -> str:
    named = MEANINGS[kind].get(value)
    if kind == "language" and named is None:
        return f"language (the policy is told {value!r})"
    return f"{kind}={value} ({named or 'what every episode is to move'})"
