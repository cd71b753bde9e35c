"""What a user can choose about a rollout, and which choices exclude each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eval.interventions import parse_interventions
from eval.percentage import Points
from eval.plan import PlanError

_EXCLUDES = {
    "validate": (
        *("model", "checkpoint", "seed", "seeds", "video"),
        *("detect", "vs", "until_width", "until_decided", "intervene"),
    ),
    "detect": ("episodes", "seeds", "until_width", "until_decided"),
    "until_width": ("until_decided", "vs"),
}
"""Setting to those that say something else, or nothing, beside it."""


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """Evaluate a policy: run episodes, print the success rate with its interval, keep a record."""

    model: str | None = None
    """What to evaluate: bc, vla, scripted, random, zero, a shipped checkpoint by name, a checkpoint folder, or
    module:attribute."""
    checkpoint: Path | None = None
    """Folder with the weights of --model; by default the shipped ones."""
    env: str = "pick-place"
    """Environment: reach, pick-place, pick-place-language, or a full id."""
    episodes: int | None = None
    """Number of episodes, by default 50; the most there may be with --until-width (by default as many as that takes at
    worst) and --until-decided (by default as many as --vs has). Ignored if --seeds is given."""
    seed: int | None = None
    """Base seed, by default 0: episode i runs with seed + i."""
    seeds: tuple[int, ...] | None = None
    """Seeds of the episodes, one each, instead of --episodes and --seed."""
    detect: Points = None
    """Run as many episodes as it takes to see such a difference (10pp, 10% or 0.1) from another policy on the same
    seeds, with 80 % power; in the hardest case, or around the success rate of --vs."""
    until_width: Points = None
    """Run episodes only until the success rate is known: its 95 % interval, valid under stopping, is so wide at most
    (5pp, 5% or 0.05 from end to end)."""
    until_decided: bool = False
    """Run episodes only until it is decided whether the policy is better or worse than that of --vs, on its seeds."""
    vs: Path | None = None
    """Folder of the complete run to compare with, for --until-decided or --detect."""
    validate: tuple[str, ...] | None = None
    """Checkpoints to choose from, instead of --model: each runs on the same validation seeds, then the best of them on
    fresh ones, and only that last figure may be believed."""
    intervene: tuple[str, ...] = ()
    """Give the policy something else than what the scene shows, to learn what it goes by: target=red (the same scenes,
    this one to move), language=empty, language=shuffled (another seed's instruction), language=held-out (a phrasing
    never trained on), language="words of your own", vision=black, vision=other-seed, vision=frozen, state=zero."""
    num_envs: int | None = None
    """Episodes simulated side by side, by default 256, 64 if the policy sees images, 16 with --until-…; never more than
    there are. Changes the speed, never a result."""
    workers: int = 1
    """Processes that run episodes, each with --num-envs side by side. Changes the speed, never a result."""
    output: Path | None = None
    """Folder for the record, new or empty. Default: the next free runs/<model>-<env>-<number>."""
    resume: bool = False
    """Continue the run in --output where it broke off; only what is missing is run, and episodes that are `error`."""
    video: int = 0
    """Film the first so many episodes."""
    quiet: bool = False
    """Print nothing but warnings and mistakes, also no progress."""
    json: bool = False
    """Print what was found as one JSON object instead of text; progress goes to standard error."""
    terminate_on_success: bool = True
    """End an episode at its first success. If not, episodes run to their time limit, success counts at the end,
    and held successes and objects knocked away again are told apart."""

    def check(self) -> None:
        """Refuse choices that exclude or need each other, and numbers that cannot run anything.

        Raises:
            PlanError: Saying which.
            SimScaleError: If an intervention cannot be read.
        """
        for name, others in _EXCLUDES.items():
            for other in others if self._is_given(name) else ():
                if self._is_given(other):
                    raise PlanError(f"expected {_flag(name)} or {_flag(other)}, got both; leave one out")
        if self.model is None and self.validate is None:
            raise PlanError("expected --model, got none; for example --model vla")
        if self.until_decided and self.vs is None:
            raise PlanError("expected --vs with --until-decided: the folder of the run to compare with")
        if self.vs is not None and not self.until_decided and self.detect is None:
            raise PlanError("expected --until-decided or --detect with --vs; to compare two runs there is eval.compare")
        if self.resume and self.output is None:
            raise PlanError("expected --output with --resume: the folder of the run to continue")
        parse_interventions(self.intervene)
        if self.video < 0:
            raise PlanError(f"expected --video of at least 0 episodes, got {self.video}")
        if self.workers < 1 or (self.num_envs is not None and self.num_envs < 1):
            raise PlanError(f"expected workers and num_envs of at least 1, got {self.workers} and {self.num_envs}")

    def _is_given(self, name: str) -> bool:
        return bool(getattr(self, name) != getattr(RolloutConfig, name))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
