"""`check_slots`: passes every registered environment, and finds each way of breaking the protocol."""

import numpy as np
import pytest

from envs import environment_names, find_environment
from envs.slots import ActionSpec, Begun, EnvSpec, Feature, Layout, Start, Transition, check_slots
from simscaleai.errors import ConformanceError

SPEC = EnvSpec(
    env_id="Test/Point-v0",
    digest="point",
    vectors={"position": Layout((Feature("position", 2, "m", "world"),))},
    cameras={"eye": (4, 6)},
    film_cameras=("eye",),
    action=ActionSpec(names=("dx", "dy"), low=(-1.0, -1.0), high=(1.0, 1.0), meaning="displacement [m]"),
    control_hz=10,
    max_episode_steps=15,
    success="The point is within 0.5 m of the origin.",
)


class PointSlots:
    """A point in the plane: a correct environment without a simulator."""

    spec = SPEC

    def __init__(self, num_slots=3):
        self.num_slots = num_slots
        self.positions = np.zeros((num_slots, 2))
        self.steps = np.zeros(num_slots, dtype=int)

    def reset(self, slots, starts):
        for slot, start in zip(slots, starts, strict=True):
            self.positions[slot] = np.random.default_rng(start.seed).uniform(2, 3, 2)
        self.steps[slots] = 0
        return [Begun() for _ in starts]

    def observe(self, slots, with_images):
        images = np.zeros((len(slots), 4, 6, 3), dtype=np.uint8)
        images[with_images] = self.positions[slots[with_images], 0, None, None, None] * 50
        return {"position": self.positions[slots].astype(np.float32), "eye": images}

    def step(self, slots, actions):
        finite = np.isfinite(actions).all(axis=1)
        executed = np.where(finite[:, None], np.clip(actions, -1, 1), 0).astype(np.float32)
        self.positions[slots] += executed
        self.steps[slots] += 1
        return Transition(
            reward=np.zeros(len(slots)),
            terminated=~finite,
            truncated=finite & (self.steps[slots] >= self.spec.max_episode_steps),
            success=np.zeros(len(slots), dtype=bool),
            executed=executed,
            failure=["" if each else "invalid_action" for each in finite],
            stage=[""] * len(slots),
        )

    def state(self, slots):
        return [self.positions[slot].tobytes() for slot in slots]

    def frame(self, slot, camera, size):
        return np.full((*size, 3), self.positions[slot, 0] * 50, dtype=np.uint8)

    def fingerprint(self):
        return {}

    def close(self):
        pass


def changed(transition, **values):
    return Transition(**(vars(transition) | values))


class OneBegunTooFew(PointSlots):
    def reset(self, slots, starts):
        return super().reset(slots, starts)[1:]


class StepsAreNotRepeatable(PointSlots):
    noise = np.random.default_rng(0)

    def step(self, slots, actions):
        done = super().step(slots, actions)
        self.positions[slots[~done.terminated]] += self.noise.normal(size=2)
        return done


class SlotsDiffer(PointSlots):
    def reset(self, slots, starts):
        begun = super().reset(slots, starts)
        self.positions[slots] += slots[:, None]
        return begun


class NeighboursInterfere(PointSlots):
    def step(self, slots, actions):
        done = super().step(slots, actions)
        self.positions[slots] += len(slots) - 1
        return done


class SeedIsIgnored(PointSlots):
    def reset(self, slots, starts):
        return super().reset(slots, [Start(0) for _ in starts])


class EarlierEpisodesMatter(PointSlots):
    episodes = 0

    def reset(self, slots, starts):
        begun = super().reset(slots, starts)
        self.episodes += 1
        self.positions[slots] += self.episodes
        return begun


class ResetTouchesAll(PointSlots):
    def reset(self, slots, starts):
        everything = np.arange(self.num_slots)
        seeds = dict(zip(slots.tolist(), starts, strict=True))
        return super().reset(everything, [seeds.get(slot, starts[0]) for slot in everything])[: len(slots)]


class StepTouchesAll(PointSlots):
    def step(self, slots, actions):
        others = np.setdiff1d(np.arange(self.num_slots), slots)
        self.positions[others] += 1
        return super().step(slots, actions)


class RewardIsSingle(PointSlots):
    def step(self, slots, actions):
        return changed(super().step(slots, actions), reward=np.zeros(len(slots), dtype=np.float32))


class FlagsAreNumbers(PointSlots):
    def step(self, slots, actions):
        return changed(super().step(slots, actions), success=np.zeros(len(slots)))


class FlagsCoverAllSlots(PointSlots):
    def step(self, slots, actions):
        return changed(super().step(slots, actions), truncated=np.zeros(self.num_slots, dtype=bool))


class ExecutedIsDouble(PointSlots):
    def step(self, slots, actions):
        done = super().step(slots, actions)
        return changed(done, executed=done.executed.astype(float))


class NoStages(PointSlots):
    def step(self, slots, actions):
        return changed(super().step(slots, actions), stage=[])


class ActionsAreNotClipped(PointSlots):
    def step(self, slots, actions):
        done = super().step(slots, actions)
        return changed(done, executed=np.where(np.isfinite(actions), actions, 0))


class InvalidActionsAreIgnored(PointSlots):
    def step(self, slots, actions):
        done = super().step(slots, actions)
        return changed(done, terminated=np.zeros(len(slots), dtype=bool))


class InvalidActionsHaveNoName(PointSlots):
    def step(self, slots, actions):
        return changed(super().step(slots, actions), failure=[""] * len(slots))


class InvalidActionsMove(PointSlots):
    def step(self, slots, actions):
        done = super().step(slots, actions)
        self.positions[slots[done.terminated]] += 1
        return done


class InvalidActionsAreExecuted(PointSlots):
    def step(self, slots, actions):
        done = super().step(slots, actions)
        return changed(done, executed=np.where(np.isfinite(actions), done.executed, 1).astype(np.float32))


class ObservationIsDouble(PointSlots):
    def observe(self, slots, with_images):
        seen = super().observe(slots, with_images)
        return seen | {"position": seen["position"].astype(float)}


class ObservationIsUnnamed(PointSlots):
    def observe(self, slots, with_images):
        return super().observe(slots, with_images) | {"velocity": np.zeros((len(slots), 2), dtype=np.float32)}


class ImagesAreFloats(PointSlots):
    def observe(self, slots, with_images):
        seen = super().observe(slots, with_images)
        return seen | {"eye": seen["eye"].astype(np.float32)}


class ObservationIsAView(PointSlots):
    def __init__(self):
        super().__init__()
        self.shown = np.zeros((self.num_slots, 2), dtype=np.float32)

    def observe(self, slots, with_images):
        self.shown[:] = self.positions
        return super().observe(slots, with_images) | {"position": self.shown[slots[0] : slots[-1] + 1]}


class ObservingChangesWhatIsSeen(PointSlots):
    looks = 0

    def observe(self, slots, with_images):
        self.looks += 1
        seen = super().observe(slots, with_images)
        return seen | {"position": seen["position"] + self.looks}


class RowsAreThoseOfOtherSlots(PointSlots):
    def observe(self, slots, with_images):
        return super().observe(np.arange(len(slots)), with_images)


class UnwantedImagesAreDrawn(PointSlots):
    def observe(self, slots, with_images):
        return super().observe(slots, np.ones_like(with_images))


class KeysComeAndGo(PointSlots):
    def observe(self, slots, with_images):
        seen = super().observe(slots, with_images)
        return {"eye": seen["eye"]} if len(slots) == 1 else seen


class FramesHaveAnotherSize(PointSlots):
    def frame(self, slot, camera, size):
        return super().frame(slot, camera, size[::-1])


BROKEN = {
    OneBegunTooFew: "one Begun per slot",
    StepsAreNotRepeatable: "the same start repeats in another slot",
    SlotsDiffer: "the same start repeats in another slot",
    EarlierEpisodesMatter: "the same start repeats in another slot",
    NeighboursInterfere: "does not depend on other slots",
    SeedIsIgnored: "different seeds",
    ResetTouchesAll: "slots that a call does not name",
    StepTouchesAll: "slots that a call does not name",
    RewardIsSingle: "Transition.reward is float64",
    FlagsAreNumbers: "Transition.success is bool",
    FlagsCoverAllSlots: r"Transition.truncated is bool of shape \(n,\)",
    ExecutedIsDouble: "Transition.executed is float32",
    NoStages: "failure and stage have one entry per slot",
    ActionsAreNotClipped: "are clipped",
    InvalidActionsAreIgnored: "not finite terminates",
    InvalidActionsHaveNoName: "not finite terminates",
    InvalidActionsMove: "leaves the state unchanged",
    InvalidActionsAreExecuted: "executed is zero",
    ObservationIsDouble: "'position' is float32",
    ObservationIsUnnamed: "'velocity' is named by the spec",
    ImagesAreFloats: "'eye' is uint8",
    ObservationIsAView: "the caller owns observation 'position'",
    ObservingChangesWhatIsSeen: "observing 'position' twice",
    RowsAreThoseOfOtherSlots: "belongs to the i-th slot",
    UnwantedImagesAreDrawn: "need no images are zero",
    KeysComeAndGo: "the same keys at every call",
    FramesHaveAnotherSize: "a frame of camera 'eye'",
}
"""What breaks one promise, to the words that name the promise."""


@pytest.mark.parametrize("name", environment_names())
def test_every_registered_environment_keeps_the_promises(name):
    registration = find_environment(name)
    spec = registration.offer()
    cameras = dict.fromkeys(spec.cameras, (24, 32))
    env = registration.make(3, spec.needs(*spec.vectors, cameras=cameras), True, None)
    check_slots(env, seeds=(3_000_000_000, 3_000_000_001))
    env.close()


def test_a_correct_environment_passes():
    check_slots(PointSlots())


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_each_broken_promise_is_named(broken):
    with pytest.raises(ConformanceError, match=BROKEN[broken]):
        check_slots(broken())


def test_an_environment_that_does_not_repeat_may_say_so():
    class Noisy(StepsAreNotRepeatable):
        spec = EnvSpec(**(vars(SPEC) | {"repeats": "no"}))

    check_slots(Noisy())


def test_one_slot_is_too_few_to_check():
    with pytest.raises(ConformanceError, match="at least 2 slots"):
        check_slots(PointSlots(1))
