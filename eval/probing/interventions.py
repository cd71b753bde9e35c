"""Interventions: replace the instruction, the images or the state that a policy gets, to find out what it depends on.

    python -m eval.rollout --model vla --env pick-place-language --intervene language=shuffled vision=black

A policy that follows instructions moves the object that the changed instruction names. A policy that uses its cameras
fails with black images. The scene of a seed stays the same, and so does the success rule, except that `target=` names
the object to move. All random numbers come from the seed of the episode, so an episode stays a function of policy,
environment, start and interventions.

`target` and `language` change the plan: the environment passes the instruction on, and the line of the episode in
`episodes.jsonl` holds it. `vision` and `state` are probes between the environment and the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from eval.episodes.plan import EpisodeSpec
from eval.episodes.probe import Probe
from eval.probing.instructions import InterventionError, changed_instruction, needs_targets, task_with_targets
from eval.probing.observations import FrozenImages, OtherSceneImages, Zeros
from simscaleai.contract import Needs
from simscaleai.errors import UnknownNameError

if TYPE_CHECKING:
    from envs.registration import Registration

MEANINGS: dict[str, dict[str, str]] = {
    "target": {},
    "language": {
        "empty": "the policy gets no instruction",
        "shuffled": "the policy gets the instruction of another seed, whose target is drawn independently",
        "held-out": "the policy gets the instruction in a phrasing that occurs in no other episode",
        "counterfactual": "the policy is told to move another object, and success is still scored on the target",
    },
    "vision": {
        "black": "the policy sees black images",
        "other-seed": "the policy sees the first image of another seed's scene, at every step",
        "frozen": "the policy sees the first image of its episode, at every step",
    },
    "state": {"zero": "the robot's state reaches the policy as zeros"},
}
"""Kind of an intervention to its named values and their meanings. A `target` is the name of an object of the task. A
`language` of several words is the instruction itself, in which `{target}` stands for the target."""


@dataclass(frozen=True, kw_only=True)
class Interventions:
    """Replacements of the target and of the inputs of a policy; None leaves an input unchanged."""

    target: str | None = None
    """Object to move in every episode."""
    language: str | None = None
    """A name in `MEANINGS`, or the instruction itself."""
    vision: str | None = None
    """A name in `MEANINGS`."""
    state: str | None = None
    """A name in `MEANINGS`."""

    def texts(self) -> tuple[str, ...]:
        """Return the interventions as a user writes them, `kind=value`, in the order of the fields."""
        return tuple(f"{kind}={value}" for kind, value in self._given())

    def meaning(self) -> str:
        """Return in words what is changed; "" without interventions."""
        return "; ".join(self.meanings().values())

    def meanings(self) -> dict[str, str]:
        """Return each intervention, as a user writes it, with its meaning in words."""
        return {f"{kind}={value}": _meaning(kind, value) for kind, value in self._given()}

    def check(self, needs: Needs, env_id: str) -> None:
        """Check that every intervention changes something for a policy with the needs `needs`.

        Args:
            needs: Needs of the policy.
            env_id: Full id of the environment.

        Raises:
            InterventionError: If the policy has no such input, or the task has no choice of targets.
            UnknownNameError: If the task has no such target.
        """
        self._check_inputs(needs)
        if self.target is not None:
            targets = task_with_targets(env_id, f"target={self.target}").colours
            if self.target not in targets:
                raise UnknownNameError("target", self.target, targets)
        if self.language is not None and needs_targets(self.language):
            task_with_targets(env_id, f"language={self.language}")

    def planned(self, plan: Sequence[EpisodeSpec], env_id: str) -> tuple[EpisodeSpec, ...]:
        """Return `plan` with the targets and instructions of the interventions."""
        return tuple(self._planned_episode(spec, env_id) for spec in plan)

    def probes(self, needs: Needs, registration: Registration) -> list[Probe]:
        """Return the probes that change images and vectors for a policy with the needs `needs`.

        Args:
            needs: Needs of the policy.
            registration: The environment, which renders the images of other scenes.
        """
        probes: list[Probe] = []
        if self.vision == "black":
            probes.append(Zeros(tuple(needs.cameras)))
        if self.vision == "frozen":
            probes.append(FrozenImages(tuple(needs.cameras)))
        if self.vision == "other-seed":
            env = registration.make(1, Needs(cameras=needs.cameras), True, None)
            probes.append(OtherSceneImages(tuple(needs.cameras), env))
        if self.state == "zero":
            probes.append(Zeros(needs.measured))
        return probes

    def _given(self) -> list[tuple[str, str]]:
        return [(kind, value) for kind, value in asdict(self).items() if value is not None]

    def _check_inputs(self, needs: Needs) -> None:
        if self.language is not None and not needs.instruction:
            raise InterventionError(f"language={self.language} changes nothing: the policy reads no instructions")
        if self.vision is not None and not needs.cameras:
            raise InterventionError(f"vision={self.vision} changes nothing: the policy sees no images")
        if self.state is not None and not needs.measured:
            raise InterventionError(
                f"state={self.state} changes nothing: the policy reads nothing that a robot measures"
            )

    def _planned_episode(self, spec: EpisodeSpec, env_id: str) -> EpisodeSpec:
        options: dict[str, Any] = dict(spec.options)
        if self.target is not None:
            options["target"] = self.target
        if self.language is not None:
            told = changed_instruction(self.language, replace(spec, options=options), env_id)
            options["instruction"] = told
        return replace(spec, options=options)


def parse_interventions(texts: Sequence[str]) -> Interventions:
    """Return the interventions in `texts`, each `kind=value`, for example "vision=black".

    Raises:
        InterventionError: If a text has another form, or a kind occurs twice.
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


def _checked(kind: str, value: str) -> str:
    """Return `value`; raise if it is one word but not a name, since a misspelt name must not become an instruction."""
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
    return f"{kind}={value} ({named or 'the object to move in every episode'})"
