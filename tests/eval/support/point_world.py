"""A point in the plane as a `SlotEnv`, and a policy for it: the tests of the loop need no simulator.

It has 2 actions, a vector that is not called `state`, no stage, and no camera unless asked for.
"""

from __future__ import annotations

import zlib

import numpy as np

from envs.registration import Registration
from envs.slots import ActionSpec, Begun, EnvSpec, Feature, Layout, Transition
from policies.base import Policy
from simscaleai.perturbation import Axis, axis_stream, with_direction

WIND = Axis(
    name="wind",
    unit="m",
    magnitudes=(0.01, 0.02, 0.03, 0.04, 0.05),
    changes="physics",
    is_signed=True,
    summary="Moves the point along x at every step.",
)

SPEC = EnvSpec(
    env_id="Test/Point-v0",
    digest="0",
    vectors={
        "position": Layout((Feature("position", 2, "m", "world"),)),
        "goal": Layout((Feature("goal_position", 2, "m", "world"),), privileged=True),
    },
    cameras={"front": None},
    film_cameras=("front",),
    action=ActionSpec(names=("x", "y"), low=(-1.0, -1.0), high=(1.0, 1.0), meaning="displacement x, y, 0.2 m at 1"),
    control_hz=10,
    max_episode_steps=30,
    success="the point is within 0.15 m of the origin",
    has_instructions=True,
    axes=(WIND,),
)


BROKEN_SEEDS = set()
"""Seeds whose episodes raise in every environment that is made."""


class PointEnv:
    """Moves a point to the origin; strict about what an evaluator may ask of it."""

    def __init__(self, num_slots, needs=None, terminate_on_success=True, max_episode_steps=None, *, spec=SPEC):
        self.num_slots, self.spec, self.terminate_on_success = num_slots, spec, terminate_on_success
        self.limit = max_episode_steps or spec.max_episode_steps
        self.keys = spec.vectors if needs is None else needs.vectors
        self.cameras = {} if needs is None else dict(needs.cameras)
        self.positions, self.velocities = np.zeros((num_slots, 2)), np.zeros((num_slots, 2))
        self.seeds = np.full(num_slots, -1)
        self.winds = np.zeros(num_slots)
        self.steps = np.zeros(num_slots, dtype=int)
        self.running = np.zeros(num_slots, dtype=bool)
        self.simulated_steps = 0
        self.drawn = []
        """Slots of which images were drawn, call by call."""
        self.raises = dict.fromkeys(BROKEN_SEEDS, 0)
        """Seed to the step at which the simulation raises."""
        self.exception = RuntimeError("the simulation broke")
        self.is_closed = False

    def reset(self, slots, starts):
        assert len(slots) == len(starts)
        begun = []
        for slot, start in zip(slots.tolist(), starts, strict=True):
            if self.raises.get(start.seed) == "reset":
                raise self.exception
            self.seeds[slot], self.steps[slot], self.running[slot] = start.seed, 0, True
            self.positions[slot] = np.random.default_rng(start.seed).uniform(-1, 1, 2)
            self.velocities[slot] = 0
            wind = start.options.get("perturbation", {}).get("wind", 0.0)
            self.winds[slot] = with_direction(WIND, wind, axis_stream(start.seed, "wind"))
            words = start.options.get("instruction", f"move {start.seed % 3}" if self.spec.has_instructions else "")
            begun.append(Begun(instruction=words, facts={"target": start.options.get("target")}))
        return begun

    def observe(self, slots, with_images):
        assert with_images.shape == slots.shape
        vectors = {"position": self.positions, "goal": np.zeros((self.num_slots, 2))}
        observation = {key: vectors[key][slots].astype(np.float32) for key in self.keys}
        if self.cameras and with_images.any():
            self.drawn.append(slots[with_images].tolist())
        for camera, size in self.cameras.items():
            images = np.zeros((len(slots), *size, 3), dtype=np.uint8)
            brightness = (100 + 50 * self.positions[slots[with_images], :1]).astype(np.uint8)
            images[with_images] = brightness[:, :, None, None] + np.arange(3, dtype=np.uint8)
            observation[camera] = images
        return observation

    def step(self, slots, actions):
        assert actions.shape == (len(slots), 2)
        assert actions.dtype == np.float32
        assert len(slots)
        assert self.running[slots].all()
        for slot in slots.tolist():
            if self.raises.get(int(self.seeds[slot])) == self.steps[slot]:
                raise self.exception
        self.simulated_steps += len(slots)
        finite = np.isfinite(actions).all(axis=1)
        executed = np.where(finite[:, None], np.clip(actions, -1, 1), 0).astype(np.float32)
        self.velocities[slots] = 0.2 * executed
        self.positions[slots] += self.velocities[slots]
        self.positions[slots, 0] += self.winds[slots]
        self.steps[slots] += 1
        success = (np.linalg.norm(self.positions[slots], axis=1) < 0.15) & finite
        terminated = ~finite | (success & self.terminate_on_success)
        truncated = ~terminated & (self.steps[slots] >= self.limit)
        self.running[slots] = ~(terminated | truncated)
        lost = (terminated | truncated) & ~success
        classes = np.where(finite, "never_arrived", "invalid_action")
        return Transition(
            reward=success.astype(float),
            terminated=terminated,
            truncated=truncated,
            success=success,
            executed=executed,
            failure=np.where(lost, classes, "").tolist(),
            stage=[""] * len(slots),
        )

    def state(self, slots):
        return [self.positions[slot].tobytes() + self.velocities[slot].tobytes() for slot in slots.tolist()]

    def frame(self, slot, camera, size):
        return np.full((*size, 3), self.steps[slot], dtype=np.uint8)

    def fingerprint(self):
        return {}

    def close(self):
        self.is_closed = True


REGISTRATION = Registration(
    name="point",
    env_id=SPEC.env_id,
    offer=lambda: SPEC,
    make=PointEnv,
    summary="Move a point to the origin.",
)


class Homing(Policy):
    """Goes to the origin along a way that depends on the number of its own looks: memory that a test can disturb.

    It answers with chunks of `horizon` times the same action.
    """

    horizon = 2

    def __init__(self, spec=SPEC, *, cameras=False, instruction=False):
        sizes = {"front": (4, 6)} if cameras else {}
        self.needs = spec.needs("position", cameras=sizes, instruction=instruction)
        self.identity = "homing"
        self.looks = {}
        self.seeds = {}
        self.instructions = {}
        self.asked = []
        self.raises = {}
        """Seed to the look at which `predict` raises; the memory of some slots has moved on by then."""
        self.exception = RuntimeError("the policy broke")

    def reset(self, slots, seeds, instructions):
        for slot, seed, text in zip(slots.tolist(), seeds, instructions, strict=True):
            if self.raises.get(seed) == "reset":
                raise self.exception
            self.looks[slot], self.seeds[slot], self.instructions[slot] = 0, seed, text

    def predict(self, observation, slots):
        assert tuple(observation) == self.needs.keys
        self.asked.append(slots.tolist())
        chunks = np.zeros((len(slots), self.horizon, 2), dtype=np.float32)
        for row, slot in enumerate(slots.tolist()):
            if self.raises.get(self.seeds[slot]) == self.looks[slot]:
                raise self.exception
            self.looks[slot] += 1
            x, y = -2.0 * observation["position"][row]
            turn = 0.6 * np.sin(self.looks[slot])
            chunks[row] = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
        return chunks


class Reading(Homing):
    """Its way depends on every pixel of its images and every letter of its instruction, too."""

    def __init__(self, spec=SPEC):
        super().__init__(spec)
        self.needs = spec.needs("position", cameras={"front": (8, 8)}, instruction=True)

    def predict(self, observation, slots):
        chunks = super().predict(observation, slots)
        for row, slot in enumerate(slots.tolist()):
            seen = zlib.crc32(observation["front"][row].tobytes() + self.instructions[slot].encode())
            chunks[row] += 0.1 * seen / 2**32
        return chunks
