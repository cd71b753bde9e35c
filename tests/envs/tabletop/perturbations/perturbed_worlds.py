"""Slots with perturbed episodes, for the tests of perturbations."""

import numpy as np

from envs import environment_names, find_environment
from envs.slots import Start
from envs.tabletop.perturbations.perturbation import read_perturbation
from envs.tabletop.registration import find_task
from envs.tabletop.simulation import load_scene
from envs.tabletop.task_slots import TaskSlots
from policies.scripted.experts import EXPERTS

SEED = 3_000_000_900
NAMES = tuple({find_task(env_id).scene: name for name, env_id in reversed(environment_names().items())}.values())
"""One environment for each scene: variants that only differ in rewards and goals are perturbed in the same way."""


def make(name, num_slots=1, size=None, **options):
    """Return slots that observe both vectors, and both cameras if there is a size."""
    registration = find_environment(name)
    cameras = dict.fromkeys(("front", "wrist"), (size, size)) if size else {}
    needs = registration.offer().needs("state", "environment_state", cameras=cameras)
    return TaskSlots(registration.env_id, find_task(registration.env_id), num_slots, needs, **options)


def begin(env, perturbation=None, seed=SEED, slot=0):
    """Begin an episode in one slot, perturbed unless `perturbation` is None."""
    options = {} if perturbation is None else {"perturbation": perturbation}
    return env.reset(np.array([slot]), [Start(seed, options)])


def see(env, slot=0):
    return env.observe(np.array([slot]), np.ones(1, dtype=bool))


def same(left, right):
    return left.keys() == right.keys() and all(left[key].tobytes() == right[key].tobytes() for key in left)


def play(env, steps=200):
    """Let the expert play all slots; return the states of each slot after every step, and where it succeeded."""
    expert = EXPERTS[env.spec.env_id](env.spec)
    running, states = np.arange(env.num_slots), [[] for _ in range(env.num_slots)]
    success = np.zeros(env.num_slots, dtype=bool)
    for _ in range(steps):
        if not running.size:
            break
        actions = expert.act(env.observe(running, np.zeros(len(running), dtype=bool)))
        transition = env.step(running, actions)
        success[running] |= transition.success
        for slot, state in zip(running.tolist(), env.state(running), strict=True):
            states[slot].append(state)
        running = running[~(transition.terminated | transition.truncated)]
    return states, success


def axes_of(name):
    return find_environment(name).offer().axes


def scene_of(name):
    return load_scene(find_task(find_environment(name).env_id).scene)


def model_edits(name, perturbation, seed=SEED):
    """Return the fields of the model that a perturbation changes."""
    scene = find_task(find_environment(name).env_id).scene
    return read_perturbation(axes_of(name), seed, perturbation).edits(scene)
