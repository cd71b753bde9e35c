"""The measured effect of each perturbation of physics and starts is what it says, and the expert masters it."""

import copy

import mujoco
import numpy as np
import pytest
from perturbed_worlds import NAMES, SEED, axes_of, begin, make, model_edits, play, same, scene_of, see

from envs.slots import Start
from envs.tabletop.registration import find_task
from envs.tabletop.simulation import LOOKS, PHYSICS
from envs.tabletop.tasks.cubes import WORK_AREA
from envs.tabletop.variant.scene import BELOW_FLOOR, DISTRACTORS
from simscaleai.assets import asset_path

SEEDS = range(SEED, SEED + 12)
WITH_OBJECTS = [name for name in NAMES if any(axis.name == "object.mass" for axis in axes_of(name))]
SLOT = np.array([0])


def compiled(name, change):
    """Return the scene of an environment, compiled by MuJoCo after `change` of each cube's geom."""
    spec = mujoco.MjSpec.from_file(str(asset_path(f"{find_task(make(name).spec.env_id).scene}.xml")))
    for geom in spec.geoms:
        if geom.name.startswith("cube_"):
            change(geom)
    return spec.compile()


def grow(geom):
    geom.size = 1.2 * geom.size


def load(geom):
    geom.mass = 4 * geom.mass


@pytest.mark.parametrize("name", WITH_OBJECTS)
@pytest.mark.parametrize(
    ("perturbation", "change"), [({"object.size": "+20"}, grow), ({"object.mass": 2}, load)], ids=["size", "mass"]
)
def test_the_model_of_a_slot_is_the_one_that_the_engine_compiles(name, perturbation, change):
    model, expected, edits = scene_of(name), compiled(name, change), model_edits(name, perturbation)
    fields = [field for field in dir(model) if isinstance(getattr(model, field, None), np.ndarray)]
    assert len(fields) > 200
    for field in set(fields) - {"cam_poscom0", "light_poscom0"}:  # which only cameras and lights that track read
        got = edits.get(field, getattr(model, field))
        np.testing.assert_allclose(got, getattr(expected, field), rtol=1e-9, atol=1e-12, err_msg=field)
    assert set(edits) <= set(PHYSICS)


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_a_heavier_cube_presses_harder_and_its_neighbour_does_not(name):
    env = make(name, 2)
    begin(env, {"object.mass": 2})
    begin(env, slot=1)
    for _ in range(20):
        env.step(np.arange(2), np.zeros((2, 4), np.float32))
    forces = [pressure(env, slot, "cube_red") for slot in range(2)]
    assert forces[1] == pytest.approx(0.05 * 9.81, rel=0.02)
    assert forces[0] / forces[1] == pytest.approx(4, rel=0.02)


def pressure(env, slot, body):
    """Return the sum of the normal forces of the contacts of a body [N]."""
    model = copy.deepcopy(env.simulation.model)
    data, force = mujoco.MjData(model), np.zeros(6)
    for field, values in env.simulation.edits[slot].items():
        getattr(model, field)[:] = values
    env.simulation.copy_data(slot, data)
    mujoco.mj_forward(model, data)
    total = 0.0
    for index in range(data.ncon):
        if model.body(body).id in model.geom_bodyid[data.contact[index].geom]:
            mujoco.mj_contactForce(model, data, index, force)
            total += force[0]
    return total


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_friction_falls_where_things_touch(name):
    model, edits = scene_of(name), model_edits(name, {"object.friction": 40})
    touching = {model.geom(n).id for n in ("left_pad", "right_pad", "cube_red", "table")}
    ratio = edits["geom_friction"] / model.geom_friction
    np.testing.assert_allclose(ratio[list(touching)], 0.6)


@pytest.mark.parametrize("name", NAMES)
def test_the_arm_starts_elsewhere_and_waits_there(name):
    plain, env = make(name), make(name)
    for seed in SEEDS:
        begin(plain, seed=seed)
        begin(env, {"robot.start": 0.4}, seed)
        moved = env.simulation.qpos[0, :7] - plain.simulation.qpos[0, :7]
        assert np.linalg.norm(moved) == pytest.approx(0.4)
        before = env.simulation.ee_position[0].copy()
        assert before[2] >= 0.12
        np.testing.assert_array_equal(env.simulation.qpos[0, 9:], plain.simulation.qpos[0, 9:])
        assert not env.task.success()[0]
        for _ in range(20):
            env.step(SLOT, np.float32([[0, 0, 0, 1]]))
        assert np.linalg.norm(env.simulation.ee_position[0] - before) < 0.02


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_the_size_of_cubes_reaches_the_rules_of_the_task(name):
    plain, env = make(name), make(name)
    begin(plain)
    begin(env, {"object.size": "+15"})
    cubes = env.simulation.qpos[0, 9:].reshape(-1, 7)
    np.testing.assert_allclose(cubes[:, 2], 0.023)
    np.testing.assert_array_equal(cubes[:, :2], plain.simulation.qpos[0, 9:].reshape(-1, 7)[:, :2])
    for _ in range(5):
        env.step(SLOT, np.float32([[0, 0, 0.5, 1]]))
    np.testing.assert_allclose(cubes[:, 2], 0.023, atol=2e-4)


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_the_target_lies_outside_the_region_of_nominal_starts(name):
    plain, env = make(name), make(name)
    lowest, highest = np.array(WORK_AREA).T
    for seed in SEEDS:
        begin(plain, seed=seed)
        begin(env, {"object.position": 0.04}, seed)
        before, after = (each.simulation.qpos[0, 9:].reshape(-1, 7)[:, :2] for each in (plain, env))
        (moved,) = np.flatnonzero((before != after).any(axis=1))
        assert env.task.colours[moved] == env.task.targets[0]
        outside = np.maximum(np.maximum(lowest - after[moved], after[moved] - highest), 0)
        assert np.linalg.norm(outside) == pytest.approx(0.04)
        others = [*np.delete(after, moved, axis=0), *env.simulation.marker_position[:, :2].reshape(-1, 2)]
        assert min(np.linalg.norm(after[moved] - other) for other in others) >= 0.1


@pytest.mark.parametrize("name", NAMES)
def test_distractors_lie_still_apart_from_the_task_and_each_level_adds_one(name):
    env, earlier = make(name), None
    for count in range(1, 6):
        begin(env, {"distractors": count})
        poses = env.simulation.distractor_state(0)[0].copy()
        present = poses[:, 2] > BELOW_FLOOR
        assert present.sum() == count
        assert earlier is None or (poses[earlier[:, 2] > BELOW_FLOOR] == earlier[earlier[:, 2] > BELOW_FLOOR]).all()
        earlier = poses
    model, places = env.simulation.model, poses[:, :2]
    starts = model.jnt_qposadr[model.jnt_type == 0]
    others = [
        *env.simulation.marker_position[:, :2].reshape(-1, 2),
        *(env.simulation.qpos[0, start : start + 2] for start in starts),
    ]
    assert min(np.linalg.norm(place - other) for place in places for other in others) >= 0.1
    for _ in range(40):
        env.step(SLOT, np.float32([[0, 0, 0.2, 1]]))
    after, velocities = env.simulation.distractor_state(0)
    assert np.abs(after[:, :3] - poses[:, :3]).max() < 0.001
    assert np.abs(velocities).max() < 0.01


def test_a_number_of_distractors_that_rounds_to_0_gives_the_nominal_episode():
    few, nominal = make("reach"), make("reach")
    begin(few, {"distractors": 0.3})
    begin(nominal)
    assert few.simulation.distractor_state(0) is None
    assert play(few, 10) == play(nominal, 10)


def test_distractors_are_there_for_the_gripper_and_for_the_digest():
    env = make("reach")
    begin(env, {"distractors": 5})
    pose = env.simulation.distractor_state(0)[0]
    target = pose[np.argmin(np.linalg.norm(pose[:, :2] - [0.5, 0], axis=1))]
    before, states = target.copy(), env.state(SLOT)
    for _ in range(60):
        to = np.array([*target[:2], 0.02]) - env.simulation.ee_position[0]
        env.extend(SLOT)
        env.step(SLOT, np.float32([[*np.clip(to / 0.025, -1, 1), -1]]))
    assert np.linalg.norm(target - before) > 0.002
    assert len(states[0]) == 8 * (9 + 9 + 13 * len(DISTRACTORS))
    assert env.state(SLOT)[0][-8 * 13 * 5 :] != states[0][-8 * 13 * 5 :]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_show_distractors_and_texture(name):
    env = make(name, size=64)
    begin(env)
    plain = see(env)["front"][0].astype(int)
    for perturbation in ({"distractors": 5}, {"table.texture": 40}):
        begin(env, perturbation)
        changed = np.abs(see(env)["front"][0].astype(int) - plain).max(axis=-1) > 12
        assert changed.mean() > (0.005 if "distractors" in perturbation else 0.1)
        film = env.frame(0, "overview", (96, 96)).astype(int)
        begin(env)
        assert np.abs(film - env.frame(0, "overview", (96, 96))).mean() > 0.3
    assert same(see(env), see(env))
    env.close()


def test_a_texture_has_the_colour_of_the_table_and_one_at_its_distance():
    from envs.tabletop.perturbations.cielab import delta_e

    seen = set()
    for seed in range(SEED, SEED + 40):
        edits = model_edits("reach", {"table.texture": 32}, seed)
        texture = edits["tex_data"].reshape(128, 128, 3) / 255
        table = scene_of("reach").material("table").rgba[:3].astype(float)
        distances = delta_e(texture, table)
        assert distances.min() < 2
        assert distances.max() == pytest.approx(32, abs=2.5)
        seen.add(len(np.unique(texture.reshape(-1, 3), axis=0)) > 2)
        assert set(edits) <= {*LOOKS, "tex_data"}
    assert seen == {True, False}  # smooth patterns and sharp ones


def successes(name, perturbation, seeds):
    env = make(name, len(seeds))
    env.reset(np.arange(len(seeds)), [Start(seed, {"perturbation": perturbation}) for seed in seeds])
    return int(play(env, 300)[1].sum())


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_masters_the_strongest_physics(name):
    for axis in axes_of(name):
        if axis.changes == "physics":
            assert successes(name, {axis.name: axis.magnitudes[4]}, list(SEEDS)[:6]) == 6, axis.name


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_expert_s_ceiling_is_99_percent(name):
    for axis in axes_of(name):
        if axis.changes == "physics":
            seeds = range(3_000_010_000, 3_000_010_200)
            assert successes(name, {axis.name: axis.magnitudes[4]}, seeds) >= 198, axis.name
