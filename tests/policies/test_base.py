"""check_policy finds every kind of broken promise, and accepts policies that keep them all."""

import numpy as np
import pytest

from policies.base import EnvSpec, Feature, Layout, Needs, Policy, check_policy
from simscaleai.contract import ActionSpec
from simscaleai.errors import ConformanceError, MismatchError

SPEC = EnvSpec(
    env_id="Test/Plane-v0",
    digest="0",
    vectors={"position": Layout((Feature("position", 2, "m", "world"),))},
    cameras={"front": None},
    action=ActionSpec(names=("x", "y"), low=(-1.0, -1.0), high=(1.0, 1.0), meaning="displacement"),
    control_hz=10,
    max_episode_steps=30,
    success="",
    has_instructions=True,
)


class Sound(Policy):
    """Keeps every promise, with memory and noise per slot."""

    needs = SPEC.needs("position", cameras={"front": (4, 6)}, instruction=True)

    def __init__(self):
        self.memory = {}

    def reset(self, slots, seeds, instructions):
        for slot, seed, text in zip(slots.tolist(), seeds, instructions, strict=True):
            self.memory[slot] = (np.random.default_rng(seed), len(text))

    def predict(self, observation, slots):
        chunks = np.empty((len(slots), 3, 2), dtype=np.float32)
        for row, slot in enumerate(slots.tolist()):
            noise, length = self.memory[slot]
            brightness = observation["front"][row].mean() / 255
            chunks[row] = observation["position"][row] * brightness / length + noise.normal(size=(3, 2))
        return chunks


class RemembersAcrossReset(Sound):
    looks = 0

    def predict(self, observation, slots):
        self.looks += 1
        return super().predict(observation, slots) + np.float32(self.looks)


class KeepsItsNoise(Sound):
    def reset(self, slots, seeds, instructions):
        for slot, seed in zip(slots.tolist(), seeds, strict=True):
            self.memory.setdefault(slot, (np.random.default_rng(seed), 1))


class CouplesRows(Sound):
    def predict(self, observation, slots):
        chunks = super().predict(observation, slots)
        return chunks - chunks.mean(axis=0)


class SharesNoise(Sound):
    def reset(self, slots, seeds, instructions):
        self.memory = dict.fromkeys(slots.tolist(), (np.random.default_rng(seeds[0]), 1))


class DependsOnRows(Sound):
    """Pads its chunks to the number of rows."""

    def predict(self, observation, slots):
        return np.repeat(super().predict(observation, slots), len(slots), axis=1)


class Doubles(Sound):
    def predict(self, observation, slots):
        return super().predict(observation, slots).astype(np.float64)


class NoChunks(Sound):
    def predict(self, observation, slots):
        return super().predict(observation, slots)[:, 0]


class EmptyChunks(Sound):
    def predict(self, observation, slots):
        return super().predict(observation, slots)[:, :0]


class LacksRows(Sound):
    def predict(self, observation, slots):
        return super().predict(observation, slots)[1:]


class OtherRobot(Sound):
    def predict(self, observation, slots):
        return np.zeros((len(slots), 3, 7), dtype=np.float32)


class NoArray(Sound):
    def predict(self, observation, slots):
        return super().predict(observation, slots).tolist()


class NotFinite(Sound):
    def predict(self, observation, slots):
        chunks = super().predict(observation, slots)
        chunks[-1, -1, -1] = np.nan
        return chunks


class ChangesImages(Sound):
    def predict(self, observation, slots):
        observation["front"] //= 2
        return super().predict(observation, slots)


class DropsObservations(Sound):
    def predict(self, observation, slots):
        chunks = super().predict(observation, slots)
        observation.pop("position")
        return chunks


class OddIdentity(Sound):
    identity = 7


class ReusesItsArray(Sound):
    """Not broken: it writes every answer into one array."""

    buffer = np.empty((8, 3, 2), dtype=np.float32)

    def predict(self, observation, slots):
        self.buffer[: len(slots)] = super().predict(observation, slots)
        return self.buffer[: len(slots)]


class NoSubclass:
    """Not broken: it has the members that a policy of code must have, no more."""

    needs = SPEC.needs("position")

    def reset(self, slots, seeds, instructions): ...

    def predict(self, observation, slots):
        return observation["position"][:, None]


@pytest.mark.parametrize("policy_type", [Sound, ReusesItsArray, NoSubclass])
def test_a_sound_policy_passes(policy_type):
    check_policy(policy_type(), SPEC)


def test_a_policy_gets_as_many_observations_as_its_history_says():
    shapes = set()

    class Windowed(Sound):
        needs = Needs(vectors=SPEC.vectors, cameras={"front": (4, 6)}, history=2)

        def predict(self, observation, slots):
            shapes.update((key, rows.shape[1:]) for key, rows in observation.items())
            return np.zeros((len(slots), 1, 2), dtype=np.float32)

    check_policy(Windowed(), SPEC)
    assert shapes == {("position", (2, 2)), ("front", (2, 4, 6, 3))}


@pytest.mark.parametrize(
    ("policy_type", "promise"),
    [
        (RemembersAcrossReset, "reset clears the memory"),
        (KeepsItsNoise, "reset clears the memory"),
        (CouplesRows, "a slot's actions do not depend on other slots"),
        (SharesNoise, "a slot's actions do not depend on other slots"),
        (DependsOnRows, "a slot's actions do not depend on other slots"),
        (Doubles, "predict returns float32; got float64"),
        (NoChunks, r"predict returns shape \(3, H, 2\); got float32 of shape \(3, 2\)"),
        (EmptyChunks, r"predict returns shape \(3, H, 2\); got float32 of shape \(3, 0, 2\)"),
        (LacksRows, r"predict returns shape \(3, H, 2\); got float32 of shape \(2, 3, 2\)"),
        (OtherRobot, r"predict returns shape \(3, H, 2\); got float32 of shape \(3, 3, 7\)"),
        (NoArray, "predict returns a NumPy array; got list"),
        (NotFinite, "actions are finite"),
        (ChangesImages, "predict leaves the observations as they are"),
        (DropsObservations, "predict leaves the observations as they are"),
        (OddIdentity, "identity is a text"),
    ],
)
def test_a_broken_promise_is_named(policy_type, promise):
    with pytest.raises(ConformanceError, match=f"broken promise: {promise}"):
        check_policy(policy_type(), SPEC)


@pytest.mark.parametrize(
    "needs",
    [
        {"vectors": {"joints": Layout((Feature("angle", 7, "rad", "joint"),))}},
        {"cameras": {"wrist": (4, 6)}},
        {"control_hz": 50},
    ],
)
def test_needs_that_the_environment_lacks_are_a_mismatch(needs):
    policy = Sound()
    policy.needs = Needs(**needs)
    with pytest.raises(MismatchError, match="the policy does not fit the environment"):
        check_policy(policy, SPEC)


def test_coupling_shows_only_with_two_rows():
    with pytest.raises(ConformanceError, match="at least 2 rows to check a policy with, got 1"):
        check_policy(Sound(), SPEC, rows=1)
