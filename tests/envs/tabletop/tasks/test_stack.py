"""Stack: what is drawn, what counts as a tower, and why episodes fail."""

import numpy as np
import pytest

from envs.tabletop.names import STACK
from envs.tabletop.tasks.cubes import CUBE_HALF
from envs.tabletop.tasks.stack import HELD_OUT_TEMPLATES, STANDING_STEPS, TEMPLATES, Stack
from envs.tabletop.vector_env import TaskVectorEnv
from policies.scripted.experts import StackExpert
from simscaleai.errors import SimScaleError

SEED = 3_000_000_000
LIMIT = 80
TOP = 3 * CUBE_HALF
UP = np.float32([0, 0, 1, 1])
HOLD = np.float32([0, 0, 0, 1])


class World:
    """One episode of Stack in which cubes can be put anywhere and the expert can be misled."""

    def __init__(self, seed=SEED, **options):
        self.env = TaskVectorEnv(STACK, environment_state=True, autoreset_mode="Disabled", **options)
        self.task = self.env.task_slots.task
        self.observation, self.info = self.env.reset(seed=seed)
        self.terminated = self.truncated = np.zeros(1, dtype=bool)
        self.steps = 0
        self.target = str(self.info["target"][0])
        self.base = Stack.choose_base(seed, self.target)
        (self.third,) = set(Stack.colours) - {self.target, self.base}
        self._layout = self.env.task_slots.spec.vectors["environment_state"]
        self._expert = StackExpert(self.env.task_slots.spec)

    def truth(self, name):
        return self._layout.get(self.observation["environment_state"], name)[0]

    def act(self, action):
        """Take one step and return its reward."""
        self.observation, reward, self.terminated, self.truncated, self.info = self.env.step(action[None])
        self.steps += 1
        return reward[0]

    def follow_expert(self, until, mislead=lambda get: None):
        """Let the expert act until `until()`; `mislead(get)` changes the copy of the truth that the expert gets."""
        for _ in range(LIMIT + 1):
            if until():
                return
            truth = self.observation["environment_state"].copy()
            mislead(lambda name, truth=truth: self._layout.get(truth, name))
            self.act(self._expert.act(self.observation | {"environment_state": truth})[0])
        raise AssertionError("the expert did not get there")

    def put(self, colour, position):
        """Put a cube at `position`, at rest, upright."""
        simulation = self.env.task_slots.simulation
        poses, velocities = simulation.free_bodies([f"cube_{colour}"])
        poses[0, 0], velocities[0, 0] = [*position, 1.0, 0.0, 0.0, 0.0], 0.0
        simulation.forward(np.ones(1, dtype=bool))

    def lift(self):
        """Let the expert act until the target is lifted."""
        self.follow_expert(lambda: self.stage() == "lifted")

    def put_on(self, colour, offset=(0.0, 0.0)):
        """Put the target on the cube `colour`."""
        pose = self.env.task_slots.simulation.free_bodies([f"cube_{colour}"])[0][0, 0]
        self.put(self.target, [*pose[:2] + np.array(offset), TOP])

    def stage(self):
        return self.info["stage"][0]

    def ended(self):
        return bool(self.terminated[0] or self.truncated[0])

    def failure(self, action=HOLD):
        """Return the failure class after `action` was repeated until the end."""
        while not self.ended():
            self.act(action)
        assert self.truncated[0]
        return self.info["failure"][0]


def misled(mislead):
    """Return the failure class of an expert that is misled by `mislead`."""
    world = World(max_episode_steps=LIMIT)
    world.follow_expert(world.ended, mislead)
    return world.failure()


# Start


def test_target_base_and_third_cube_are_the_three_colours_and_all_pairs_and_wordings_are_drawn():
    env = TaskVectorEnv(STACK, 400, environment_state=True)
    observation, info = env.reset(seed=SEED)
    layout, truth = env.task_slots.spec.vectors["environment_state"], observation["environment_state"]
    targets, bases = (layout.get(truth, name).argmax(axis=1) for name in ("target", "base"))
    assert {*zip(targets.tolist(), bases.tolist(), strict=True)} == {
        (t, b) for t in range(3) for b in range(3) if t != b
    }
    assert len(set(info["instruction"])) == 6 * len(TEMPLATES)
    poses = env.task_slots.simulation.free_bodies([f"cube_{colour}" for colour in Stack.colours])[0]
    for name, cubes in (("cube", targets), ("base", bases), ("third_cube", 3 - targets - bases)):
        chosen = poses[np.arange(400), cubes].astype(np.float32)
        np.testing.assert_array_equal(layout.get(truth, f"{name}_position"), chosen[:, :3])
        np.testing.assert_array_equal(layout.get(truth, f"{name}_orientation"), chosen[:, 3:])


@pytest.mark.parametrize("template", [*TEMPLATES, *HELD_OUT_TEMPLATES])
def test_every_wording_names_both_cubes_once(template):
    words = template.format(colour="red", base="blue").replace(",", "").split()
    assert (words.count("red"), words.count("blue")) == (1, 1)


def test_the_instruction_names_the_cubes_that_count():
    for seed in range(SEED, SEED + 20):
        world = World(seed)
        said = world.info["instruction"][0].replace(",", "").split()
        assert (world.target in said, world.base in said, world.third in said) == (True, True, False)
        for text in (Stack.phrase(world.target, seed), Stack.phrase_held_out(world.target, seed)):
            assert {world.target, world.base} <= set(text.replace(",", "").split())


def test_a_chosen_target_changes_the_target_alone():
    env = TaskVectorEnv(STACK, 3)
    _, info = env.reset(seed=[SEED] * 3, options={"target": ["red", "green", "blue"]})
    assert info["target"].tolist() == ["red", "green", "blue"]
    states = env.task_slots.state(np.arange(3))
    assert states[0] == states[1] == states[2]
    with pytest.raises(SimScaleError, match=r"Unknown target 'pink'.*red, green, blue"):
        env.reset(seed=SEED, options={"target": "pink"})


# Success


def test_success_comes_when_the_tower_has_stood_for_ten_steps_and_pays_most():
    world = World(reward="dense")
    world.lift()
    world.put_on(world.base)
    rewards = [world.act(UP) for _ in range(STANDING_STEPS)]
    assert (world.terminated[0], world.info["success"][0], world.info["failure"][0]) == (True, True, "")
    assert min(rewards) >= 0.0
    assert np.argmax(rewards) == STANDING_STEPS - 1
    assert rewards[-1] > 1.0


@pytest.mark.parametrize(("offset", "expected"), [((0.017, 0.0), True), ((0.0, -0.017), True), ((0.0, 0.025), False)])
def test_the_tower_must_stand(offset, expected):
    world = World(max_episode_steps=LIMIT)
    world.lift()
    world.put(world.third, [0.42, -0.17, CUBE_HALF])
    world.put(world.base, [0.5, 0.0, CUBE_HALF])
    world.put_on(world.base, offset)
    while not world.ended():
        world.act(UP)
    assert bool(world.terminated[0]) is expected


def test_a_tower_that_is_disturbed_starts_to_count_again():
    world = World(terminate_on_success=False)
    world.lift()
    world.put_on(world.base)
    for _ in range(STANDING_STEPS - 1):
        world.act(UP)
    world.put_on(world.base, (0.0, 0.03))
    world.act(UP)
    world.put_on(world.base)
    for _ in range(STANDING_STEPS - 1):
        world.act(UP)
    assert not world.info["success"][0]
    world.act(UP)
    assert world.info["success"][0]


def test_a_tower_on_a_raised_base_or_on_the_third_cube_is_none():
    for bottom in ("third", "base"):
        world = World(terminate_on_success=False)
        world.lift()
        if bottom == "base":  # the base lies on the third cube, and the target on top of both
            position = world.truth("third_cube_position")
            world.put(world.base, [*position[:2], TOP])
            world.put(world.target, [*position[:2], 5 * CUBE_HALF])
        else:
            world.put_on(world.third)
        for _ in range(STANDING_STEPS + 2):
            world.act(UP)
            assert not world.info["success"][0]


def test_a_cube_in_the_gripper_is_not_stacked():
    world = World(max_episode_steps=LIMIT)
    world.follow_expert(lambda: bool(world.task._is_on_base[0]))
    assert world.failure(np.float32([0, 0, 0, -1])) == "not_released"


# Failures


def test_an_idle_arm_never_approached():
    assert World(max_episode_steps=3).failure() == "never_approached"


@pytest.mark.parametrize(("gripper", "expected"), [(-1.0, "near_miss"), (1.0, "dropped")])
def test_a_lifted_cube_is_carried_on_or_falls(gripper, expected):
    world = World(max_episode_steps=LIMIT)
    world.lift()
    assert world.failure(np.float32([0, 0, 0, gripper])) == expected


def test_a_tower_that_stood_too_briefly_is_a_near_miss():
    world = World(max_episode_steps=LIMIT)
    world.lift()
    while world.steps < LIMIT - STANDING_STEPS + 1:
        world.act(UP)
    world.put_on(world.base)
    assert world.failure(UP) == "near_miss"


def test_a_cube_that_was_never_lifted_was_tossed_onto_the_base():
    world = World(max_episode_steps=STANDING_STEPS + 2)
    world.put_on(world.base)
    assert world.failure(UP) == "tossed"


def test_a_tower_that_falls_is_toppled():
    world = World(max_episode_steps=LIMIT)
    world.follow_expert(lambda: world.stage() == "placed")
    world.put(world.target, [0.3, 0.3, CUBE_HALF])
    assert world.failure(UP) == "toppled"


def to_the_third_cube(get):
    get("base_position")[:] = get("third_cube_position")


def to_a_place_on_the_table(get):
    get("base_position")[:] = [0.5, 0.28, -CUBE_HALF]


def beside_the_target(get):
    get("cube_position")[:, 0] += 0.045


def with_another_cube(get):
    get("cube_position")[:] = get("third_cube_position")


@pytest.mark.parametrize(
    ("mislead", "expected"),
    [
        (to_the_third_cube, "wrong_base"),
        (to_a_place_on_the_table, "misplaced"),
        (beside_the_target, "missed_grasp"),
        (with_another_cube, "wrong_object"),
    ],
)
def test_an_expert_that_is_misled_fails_in_the_way_it_was_misled(mislead, expected):
    assert misled(mislead) == expected


def test_a_base_that_is_pushed_away_is_its_own_class():
    world = World(max_episode_steps=3)
    world.put(world.base, world.truth("base_position") + np.array([0.0, 0.05, 0.0]))
    assert world.failure() == "pushed_base"
