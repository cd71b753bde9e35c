"""Policies that go by one cue: a memorised start, a colour, or one camera.

Each replays what the expert did from the same start; the last two only if they recognise their cue.

A policy looks once, at the first step: its only chunk lasts the whole episode.
"""

import numpy as np

from envs.registration import find_environment
from envs.slots import Start
from policies.base import Policy
from policies.scripted.experts import PickPlaceExpert
from simscaleai.contract import union_of_needs

SEEDS = range(12)
CAMERAS = {"front": (96, 96), "wrist": (96, 96)}
_FEW_PIXELS = 8  # of a cube


def red(image):
    """Returns which pixels are red, in any light."""
    r, g, b = np.moveaxis(image.astype(float), -1, 0)
    return r > 4 * np.maximum(g, b)


class Rehearsed(Policy):
    """Replays the expert's actions from the start of the same seed."""

    def __init__(self, spec):
        self.needs = spec.needs("state", cameras=CAMERAS)
        self.seeds = {}
        self.actions, self.first = rehearse(spec)

    def reset(self, slots, seeds, instructions):
        self.seeds.update(zip(slots.tolist(), seeds, strict=True))

    def predict(self, observation, slots):
        rows = range(len(slots))
        recognised = [self.recognises({key: observation[key][row] for key in CAMERAS}, slots[row]) for row in rows]
        return np.stack([self.actions[self.seeds[slots[row]]] * recognised[row] for row in rows])

    def recognises(self, images, slot):
        """Returns whether the cue is there. Without it, the policy stands still."""
        return True


class Colour(Rehearsed):
    """Moves only if one of the cameras shows something red."""

    def recognises(self, images, slot):
        return sum(red(image).sum() for image in images.values()) > _FEW_PIXELS


class FrontCamera(Rehearsed):
    """Moves only if the front camera shows things where they were in rehearsal, whatever their colour and light."""

    def recognises(self, images, slot):
        seen, known = edges(images["front"]), edges(self.first[self.seeds[slot]])
        return np.corrcoef(seen.ravel(), known.ravel())[0, 1] > 0.5


def edges(image):
    """Returns how much the brightness changes at each pixel, as a share of the brightness."""
    grey = image.mean(axis=-1) + 1
    return np.hypot(*np.gradient(np.log(grey)))


def rehearse(spec):
    """Returns the expert's actions (T, 4) and the first image of the front camera, by seed."""
    expert, seeds, slots = PickPlaceExpert(spec), list(SEEDS), np.arange(len(SEEDS))
    needs = union_of_needs([expert.needs, spec.needs(cameras=CAMERAS)])
    env = find_environment(spec.env_id).make(len(seeds), needs, True, None)
    env.reset(slots, [Start(seed) for seed in seeds])
    first = env.observe(slots, np.ones(len(slots), dtype=bool))["front"]
    actions = np.zeros((len(seeds), spec.max_episode_steps, 4), dtype=np.float32)
    running = slots
    for step in range(spec.max_episode_steps):
        observation = env.observe(running, np.zeros(len(running), dtype=bool))
        actions[running, step] = expert.predict(observation, running)[:, 0]
        done = env.step(running, actions[running, step])
        running = running[~(done.terminated | done.truncated)]
        if not running.size:
            break
    env.close()
    return dict(zip(seeds, actions, strict=True)), dict(zip(seeds, first, strict=True))
