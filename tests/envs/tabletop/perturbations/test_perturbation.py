"""What holds for every perturbation: nothing at 0, one direction for all levels, no influence on other slots."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from perturbed_worlds import NAMES, SEED, axes_of, begin, make, model_edits, play, same, scene_of, see

from envs import environment_names
from envs.slots import Start, check_slots
from envs.tabletop.registration import find_task
from envs.tabletop.simulation import LOOKS, TEXTURE
from envs.tabletop.vector_env import TaskVectorEnv
from simscaleai.errors import SimScaleError, UnknownNameError


def test_environments_of_one_scene_have_the_same_axes():
    axes = {}
    for name, env_id in environment_names().items():
        axes.setdefault(find_task(env_id).scene, []).append([axis.name for axis in axes_of(name)])
    assert len(axes) == len(NAMES) < len(environment_names())
    assert all(each == found[0] for found in axes.values() for each in found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("nothing", [{}, {"light.intensity": 0, "camera.azimuth": 0.0}])
def test_magnitude_0_is_the_plain_episode(name, nothing):
    plain, zero = make(name, size=48), make(name, size=48)
    begin(plain)
    begin(zero, nothing)
    assert same(see(plain), see(zero))
    assert play(plain)[0] == play(zero)[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_axis_changes_the_episode_in_its_slot_only_and_until_the_next_reset(name):
    env, plain, alone = (make(name, slots, size=32) for slots in (2, 2, 1))
    for each in (env, plain):
        begin(each, seed=SEED + 1, slot=1)
        begin(each, slot=0)
    for axis in axes_of(name):
        perturbation = {axis.name: axis.magnitudes[4]}
        begin(env, perturbation)
        begin(alone, perturbation)
        assert env.simulation.edits[0] or env.state(np.array([0])) != plain.state(np.array([0])), axis.name
        assert same(see(env), see(alone)), axis.name
        assert same(see(env, 1), see(plain, 1)), axis.name
        begin(env)
        assert same(see(env), see(plain)), axis.name


@pytest.mark.parametrize("name", NAMES)
def test_looks_leave_the_expert_s_episode_as_it_is(name):
    looks = [axis for axis in axes_of(name) if axis.changes == "looks"]
    env = make(name, 1 + len(looks))
    begin(env)
    for slot, axis in enumerate(looks, start=1):
        begin(env, {axis.name: axis.magnitudes[4]}, slot=slot)
        assert set(env.simulation.edits[slot]) <= {*LOOKS, TEXTURE}
    states, success = play(env)
    assert success.all()
    assert all(each == states[0] for each in states)


def test_levels_of_one_seed_share_the_direction_and_seeds_differ():
    small, large, other = (
        model_edits("reach", {"camera.aim": degrees}, seed)["cam_quat"][0]
        for degrees, seed in ((2, SEED), (10, SEED), (10, SEED + 1))
    )
    nominal = scene_of("reach").cam_quat[0]
    small, large, other = (each - nominal for each in (small, large, other))
    small, large, other = (each / np.linalg.norm(each) for each in (small, large, other))
    assert small @ large > 0.99
    assert large @ other < 0.95


def test_a_signed_axis_draws_its_direction_unless_the_sign_is_given():
    def stops(magnitude, seed=SEED):
        nominal = scene_of("reach").light_diffuse
        ratio = model_edits("reach", {"light.intensity": magnitude}, seed)["light_diffuse"] / nominal
        return round(float(np.log2(ratio).mean()), 3)

    assert {stops(0.5, seed) for seed in range(12)} == {0.5, -0.5}
    assert all(stops(-0.5, seed) == stops("-0.5", seed) == -0.5 for seed in range(4))
    assert all(stops("+0.5", seed) == 0.5 for seed in range(4))


def test_axes_compose_independently():
    both = model_edits("pick-place", {"table.colour": 20, "light.intensity": 0.5, "object.colour": 18})
    alone = model_edits("pick-place", {"object.colour": 18})["mat_rgba"]
    table = model_edits("pick-place", {"table.colour": 20})["mat_rgba"]
    model = scene_of("pick-place")
    red, top = model.material("red").id, model.material("table").id
    np.testing.assert_array_equal(both["mat_rgba"][red], alone[red])
    np.testing.assert_array_equal(both["mat_rgba"][top], table[top])
    np.testing.assert_array_equal(
        both["light_diffuse"], model_edits("pick-place", {"light.intensity": 0.5})["light_diffuse"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_perturbed_episode_does_not_depend_on_slots_and_neighbours(name):
    perturbation = {axis.name: axis.magnitudes[2] for axis in axes_of(name)}
    alone, plain, many = make(name, size=40), make(name, size=40), make(name, 5, size=40, num_threads=2)
    begin(alone, perturbation)
    for slot in range(5):
        begin(many, {"light.intensity": 1} if slot % 2 else None, SEED + slot, slot)
    begin(many, perturbation, slot=3)
    begin(plain, slot=0)
    assert same(see(alone), see(many, 3))
    states = play(many, 40)[0]
    assert play(alone, 40)[0][0] == states[3]
    assert play(plain, 40)[0][0] == states[0]
    assert same(see(alone), see(many, 3))
    assert same(see(plain), see(many))


class Perturbed:
    """Slots whose starts are all perturbed."""

    def __init__(self, env, perturbation):
        self._env, self._perturbation = env, perturbation

    def __getattr__(self, name):
        return getattr(self._env, name)

    def reset(self, slots, starts):
        options = {"perturbation": self._perturbation}
        return self._env.reset(slots, [Start(start.seed, options) for start in starts])


@pytest.mark.parametrize("name", NAMES)
def test_perturbed_slots_keep_the_promises_of_an_environment(name):
    check_slots(Perturbed(make(name, 3, size=32), {axis.name: axis.magnitudes[1] for axis in axes_of(name)}))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("copies", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])  # noqa: S301
def test_a_copy_and_a_saved_state_go_on_under_the_same_perturbation(name, copies):
    perturbation = {axis.name: axis.magnitudes[3] for axis in axes_of(name)}
    env, other = make(name, 2, size=40), make(name, 2, size=40)
    begin(env, perturbation)
    begin(env, slot=1)
    begin(other)
    begin(other, {"light.intensity": 1}, slot=1)
    action = np.full((2, 4), 0.4, np.float32)
    for _ in range(3):
        env.step(np.arange(2), action)
    copied = copies(env)
    other.restore(np.array([1]), env.save(np.array([0])))
    for _ in range(5):
        env.step(np.arange(2), action)
        copied.step(np.arange(2), action)
        other.step(np.array([1]), action[:1])
    assert env.state(np.arange(2)) == copied.state(np.arange(2))
    assert env.state(np.array([0])) == other.state(np.array([1]))
    assert same(see(env), see(copied)) and same(see(env), see(other, 1)) and same(see(env, 1), see(copied, 1))  # noqa: PT018


def test_gymnasium_environments_take_perturbations():
    env = gym.make("envs:SimScale/PickPlace-v0", cameras=("front",), image_size=32)
    plain, _ = env.reset(seed=SEED)
    dark, _ = env.reset(seed=SEED, options={"perturbation": {"light.intensity": -1}})
    assert dark["front"].mean() < 0.7 * plain["front"].mean()
    many = TaskVectorEnv("SimScale/PickPlace-v0", 3, cameras=("front",), image_size=32)
    mixed, _ = many.reset(
        seed=[SEED] * 3, options={"perturbation": [None, {"light.intensity": -1}, {"light.intensity": -0.5}]}
    )
    assert mixed["front"][0].tobytes() == plain["front"].tobytes()
    assert mixed["front"][1].tobytes() == dark["front"].tobytes()
    all_dark, _ = many.reset(seed=[SEED] * 3, options={"perturbation": {"light.intensity": -1}})
    assert all_dark["front"][2].tobytes() == dark["front"].tobytes()


@pytest.mark.parametrize(
    ("perturbation", "message"),
    [
        ({"light.intensty": 1}, "Unknown axis of the scene 'light.intensty'. Did you mean 'light.intensity'"),
        ({"object.colour": 9}, "Unknown axis of the scene 'object.colour'"),
        (
            {"light.intensity": 9},
            "axis 'light.intensity' needs a number, or a text with a sign such as \"\\+1\", from -5",
        ),
        ({"light.intensity": "1"}, "needs a number"),
        ({"light.intensity": True}, "needs a number"),
        ({"camera.aim": -2}, "axis 'camera.aim' needs a number from 0 to 45 deg, got -2"),
        ({"camera.aim": float("nan")}, "needs a number from 0 to 45 deg, got nan"),
        ("light", "expected a mapping from axis to magnitude"),
    ],
)
def test_a_perturbation_that_is_not_possible_is_refused_in_one_line(perturbation, message):
    env = make("reach")
    begin(env)
    with pytest.raises(SimScaleError, match=message) as error:
        begin(env, perturbation)
    assert "\n" not in str(error.value)
    begin(env)
    assert play(env)[1].all()


def test_a_colour_that_does_not_exist_is_refused_in_one_line():
    with pytest.raises(
        SimScaleError, match=r"^no colour at ΔE 60 from rgb .* exists in sRGB and .*; ask for at most 30$"
    ):
        begin(make("pick-place-language"), {"goal.colour": 60})


def test_the_unknown_axis_is_an_unknown_name():
    with pytest.raises(UnknownNameError):
        begin(make("reach"), {"object.mass": 1})
