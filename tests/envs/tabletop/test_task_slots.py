"""TaskSlots: what every tabletop task must keep, so that a new task is covered by its registration line."""

import ctypes.util
import inspect
import os
import subprocess
import sys

import numpy as np
import pytest

from envs import find_environment
from envs.slots import Start
from envs.tabletop.names import CAMERAS, FILM_CAMERAS, PICK_PLACE, PICK_PLACE_LANGUAGE, REACH
from envs.tabletop.registration import find_task
from envs.tabletop.task_slots import TaskSlots
from simscaleai.contract import Needs
from simscaleai.errors import MismatchError, SimScaleError

SEED = 3_000_000_000


def make(env_id, num_slots=1, *, vectors=("state", "environment_state"), cameras=(), size=(32, 32), **options):
    needs = find_environment(env_id).offer().needs(*vectors, cameras=dict.fromkeys(cameras, size))
    return TaskSlots(env_id, find_task(env_id), num_slots, needs, **options)


def begin(env, seed=SEED, **options):
    slots = np.arange(env.num_slots)
    return env.reset(slots, [Start(seed + slot, options) for slot in slots.tolist()])


def observe(env, images=True):
    return env.observe(np.arange(env.num_slots), np.full(env.num_slots, images))


def random_actions(steps, num_slots, seed=0):
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (steps, num_slots, 4)).astype(np.float32)


def run(env, actions):
    """Step all slots; return the states after each step."""
    slots = np.arange(env.num_slots)
    return [(env.step(slots, action), env.state(slots))[1] for action in actions]


def test_the_offer_names_vectors_cameras_and_films(env_id):
    spec = find_environment(env_id).offer()
    assert not spec.vectors["state"].privileged
    assert spec.vectors["environment_state"].privileged
    assert set(spec.vectors) == {"state", "environment_state", *find_task(env_id).usual_vectors}
    assert spec.cameras == {"front": None, "wrist": None}
    assert spec.film_cameras == ("overview", "front", "wrist")
    assert (spec.control_hz, spec.action.names) == (20, ("delta_x", "delta_y", "delta_z", "gripper"))
    assert (spec.has_instructions, spec.repeats, spec.distinct_starts) == (True, "exact", None)
    assert spec.max_episode_steps == find_task(env_id).max_episode_steps


def test_offering_builds_no_simulation(env_id, monkeypatch):
    monkeypatch.delattr("mujoco.batch.Batch")
    assert find_environment(env_id).offer().env_id == env_id
    with pytest.raises(AttributeError):
        make(env_id)


def test_the_specification_of_an_instance_names_its_own_time_limit():
    assert make(REACH, max_episode_steps=7).spec.max_episode_steps == 7


def test_observations_hold_exactly_the_keys_that_are_needed(env_id):
    cases = [((), ()), (("state",), ()), (("environment_state",), ("wrist",)), (("state",), ("wrist", "front"))]
    for vectors, cameras in cases:
        env = make(env_id, 2, vectors=vectors, cameras=cameras)
        begin(env)
        assert tuple(observe(env)) == (*vectors, *cameras)
        env.close()


def test_layouts_cover_the_vectors(env_id):
    env = make(env_id)
    begin(env)
    for key, rows in observe(env).items():
        assert rows.shape == (1, env.spec.vectors[key].size)


def test_needs_that_are_not_offered_are_refused():
    layout = find_environment(REACH).offer().vectors["environment_state"]
    with pytest.raises(MismatchError, match="environment_state"):
        TaskSlots(PICK_PLACE, find_task(PICK_PLACE), 1, Needs(vectors={"environment_state": layout}))
    with pytest.raises(MismatchError, match="camera 'top'"):
        TaskSlots(REACH, find_task(REACH), 1, Needs(cameras={"top": (8, 8)}))


def test_a_slots_episode_does_not_depend_on_the_others():
    actions = random_actions(12, 5)
    together = make(PICK_PLACE_LANGUAGE, 5)
    begin(together)
    expected = run(together, actions)
    for num_threads, slots in ((1, [0, 3]), (2, [4])):
        some = make(PICK_PLACE_LANGUAGE, 5, num_threads=num_threads)
        begin(some, seed=7)
        chosen = np.array(slots)
        some.reset(chosen, [Start(SEED + slot) for slot in slots])
        for action, states in zip(actions, expected, strict=True):
            some.step(chosen, action[chosen])
            assert some.state(chosen) == [states[slot] for slot in slots]


def test_slots_that_are_not_named_stay_as_they_are():
    env = make(PICK_PLACE_LANGUAGE, 3, cameras=("wrist",))
    begin(env)
    before, seen = env.state(np.array([1])), env.observe(np.array([1]), np.ones(1, bool))
    for action in random_actions(12, 2):
        env.step(np.array([0, 2]), action)
    env.reset(np.array([2]), [Start(1)])
    assert env.state(np.array([1])) == before
    after = env.observe(np.array([1]), np.ones(1, bool))
    assert all((after[key] == seen[key]).all() for key in seen)


@pytest.mark.parametrize("fault", ["invalid_action", "diverged"])
def test_a_fault_ends_its_slot_and_no_other(fault):
    actions = random_actions(15, 3)
    env, healthy = make(PICK_PLACE_LANGUAGE, 3), make(PICK_PLACE_LANGUAGE, 3)
    begin(env)
    begin(healthy)
    slots = np.arange(3)
    for step, action in enumerate(actions):
        sent = action.copy()
        if step == 5 and fault == "invalid_action":
            sent[1, 2] = np.nan
        if step == 5 and fault == "diverged":
            env.simulation.qvel[1, 3] = 1e12
        before = env.state(np.array([1]))
        done = env.step(slots, sent[slots])
        healthy.step(np.arange(3), action)
        if step == 5:
            assert done.terminated.tolist() == [False, True, False]
            assert (done.failure, done.reward[1], bool(done.success[1])) == (["", fault, ""], 0.0, False)
            assert env.state(np.array([1])) == before
            assert done.executed[1].any() == (fault == "diverged")
            slots = slots[~done.terminated]
        assert env.state(np.array([0, 2])) == healthy.state(np.array([0, 2]))
    env.reset(np.array([1]), [Start(SEED + 1)])
    healthy.reset(np.array([2]), [Start(SEED + 1)])
    assert env.state(np.array([1])) == healthy.state(np.array([2]))


def test_actions_beyond_one_are_clipped():
    plain, wild = make(REACH), make(REACH)
    begin(plain)
    begin(wild)
    assert run(plain, np.ones((1, 1, 4), np.float32)) == run(wild, np.full((1, 1, 4), 50.0, np.float32))
    done = wild.step(np.arange(1), np.float32([[-9, 9, 0.5, 2]]))
    np.testing.assert_array_equal(done.executed, [[-1, 1, 0.5, 1]])


def test_the_time_limit_truncates_once_and_says_why(env_id):
    env = make(env_id, max_episode_steps=3)
    begin(env)
    done = [env.step(np.arange(1), np.zeros((1, 4), np.float32)) for _ in range(3)]
    assert [bool(each.truncated[0]) for each in done] == [False, False, True]
    assert [each.failure for each in done] == [[""], [""], ["never_approached"]]


def test_an_episode_that_has_ended_is_not_stepped_on():
    env = make(REACH, 2, max_episode_steps=1)
    zeros = np.zeros((2, 4), np.float32)
    with pytest.raises(SimScaleError, match=r"^slots \[0, 1\] run no episode; call reset before step$"):
        env.step(np.arange(2), zeros)
    begin(env)
    env.step(np.arange(1), zeros[:1])
    with pytest.raises(SimScaleError, match=r"slots \[0\] run no episode"):
        env.step(np.arange(2), zeros)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"traget": "red"}, r"Unknown start option 'traget'.*Did you mean 'target'"),
        ({"instruction": 5}, "expected a text as start option 'instruction', got 5"),
        ({"target": "pink"}, r"Unknown target 'pink'.*red, green, blue"),
    ],
)
def test_impossible_starts_are_refused_and_leave_nothing_that_could_be_stepped(options, message):
    env = make(PICK_PLACE_LANGUAGE, 2)
    begin(env)
    with pytest.raises(SimScaleError, match=message):
        env.reset(np.array([1]), [Start(SEED, options)])
    env.step(np.array([0]), np.zeros((1, 4), np.float32))
    with pytest.raises(SimScaleError, match=r"slots \[1\] run no episode"):
        env.step(np.array([1]), np.zeros((1, 4), np.float32))


def test_reach_has_no_targets():
    with pytest.raises(SimScaleError, match="no targets to choose from"):
        begin(make(REACH), target="red")


def test_a_start_says_instruction_target_and_stage(env_id):
    (begun,) = begin(make(env_id))
    assert begun.stage == "start"
    assert begun.instruction
    assert begun.facts == {"target": None if env_id == REACH else begun.facts["target"]}
    (again,) = begin(make(env_id), instruction="do it", target=begun.facts["target"])
    assert (again.instruction, again.facts) == ("do it", begun.facts)


def test_no_episode_begins_solved(env_id):
    env = make(env_id, 100)
    assert {begun.stage for begun in begin(env)} == {"start"}
    assert not env.task.success().any()


def test_state_is_positions_then_velocities_in_doubles(env_id):
    env = make(env_id, 2)
    begin(env)
    run(env, random_actions(2, 2))
    for slot, state in enumerate(env.state(np.arange(2))):
        both = np.concatenate([env.simulation.qpos[slot], env.simulation.qvel[slot]])
        np.testing.assert_array_equal(np.frombuffer(state, "<f8"), both)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_every_camera_sees_something_at_any_size(env_id, camera, size):
    env = make(env_id, cameras=(camera,), size=size)
    begin(env)
    image = observe(env)[camera][0]
    assert image.shape == (*size, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    env.close()


def test_images_belong_to_their_slot_and_cameras_may_differ_in_size():
    spec = find_environment(PICK_PLACE_LANGUAGE).offer()
    needs = spec.needs(cameras={"wrist": (24, 48), "front": (40, 32)})
    env = TaskSlots(PICK_PLACE_LANGUAGE, find_task(PICK_PLACE_LANGUAGE), 3, needs)
    begin(env)
    images = env.observe(np.arange(3), np.array([True, False, True]))
    for camera, size in needs.cameras.items():
        assert images[camera].shape == (3, *size, 3)
        assert not images[camera][1].any()
        alone = make(PICK_PLACE_LANGUAGE, cameras=(camera,), size=size)
        begin(alone, seed=SEED + 2)
        np.testing.assert_array_equal(images[camera][2], observe(alone)[camera][0])


def test_filming_and_observing_change_nothing():
    silent, filmed = make(PICK_PLACE_LANGUAGE), make(PICK_PLACE_LANGUAGE, cameras=("front",))
    begin(silent)
    begin(filmed)
    for action in random_actions(5, 1):
        assert filmed.frame(0, "overview", (64, 96)).std() > 10
        observe(filmed)
        assert run(silent, [action]) == run(filmed, [action])


def test_the_fingerprint_names_the_gl_driver_where_it_draws():
    assert make(REACH).fingerprint() == {"gl_renderer": None}
    (name,) = make(REACH, cameras=("front",)).fingerprint().values()
    assert isinstance(name, str)
    assert name not in ("", "none")


def test_threads_keep_to_what_the_process_may_use(monkeypatch):
    def threads():
        return len(os.listdir("/proc/self/task"))

    if not os.path.exists("/proc/self/task"):
        pytest.skip("counts threads in Linux's /proc")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = threads()
    limited = make(PICK_PLACE, 64)
    assert threads() == before
    chosen = make(PICK_PLACE, 64, num_threads=3)
    assert threads() > before
    assert (limited.num_slots, chosen.num_slots) == (64, 64)  # both are still alive


def test_docstring_has_all_headings(env_id):
    text = inspect.getdoc(find_task(env_id))
    for heading in ("Action", "Observation", "Randomization", "Success", "Episode end", "Version history"):
        assert f"**{heading}.**" in text


def test_a_task_without_a_success_section_offers_its_summary():
    class RaiseHand(find_task(REACH)):
        """Lift the point between the finger pads 0.35 m above the table."""

        def success(self):
            return self.simulation.ee_position[:, 2] > 0.35

    env = TaskSlots("Test/RaiseHand-v0", RaiseHand, 2)
    assert env.spec.success == "Lift the point between the finger pads 0.35 m above the table."
    begin(env)
    for _ in range(20):
        done = env.step(np.arange(2), np.float32([[0, 0, 1, 0]] * 2))
        if done.terminated.any():
            break
    assert done.success.any()


def test_state_only_use_loads_no_gl():
    code = (
        "import sys, gymnasium as gym\n"
        "env = gym.make('envs:SimScale/PickPlace-v0'); env.reset(seed=0)\n"
        "env.step(env.action_space.sample())\n"
        "print(any(name.startswith('OpenGL.GL') for name in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_without_gl_images_are_refused_in_one_line():
    code = (
        "from envs.tabletop.vector_env import TaskVectorEnv\n"
        "env = TaskVectorEnv('SimScale/Reach-v0', 1, cameras=('front',))\n"
        "try: env.reset(seed=0)\n"
        "except ValueError as error: print(type(error).__name__, str(error).count(chr(10)), 'libegl1' in str(error))"
    )
    environment = os.environ | {"MUJOCO_GL": "disabled"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert result.stdout.split() == ["SimScaleError", "0", "True"], result.stderr


@pytest.mark.skipif(not ctypes.util.find_library("EGL"), reason="no GL backend to choose")
def test_the_gl_backend_is_chosen_before_mujoco_is_loaded():
    """Each module is imported in a process that has imported neither ours nor MuJoCo."""
    modules = ["rendering", "digests", "task_slots", "vector_env", "tasks.reach"]
    code = (
        "import os, sys, builtins, gymnasium, numpy\nassert 'mujoco' not in sys.modules\n"
        "load = builtins.__import__\n"
        "def watch(name, *args, **kwargs):\n"
        "    if name == 'mujoco' and 'mujoco' not in sys.modules: print(os.environ.get('MUJOCO_GL'), flush=True)\n"
        "    return load(name, *args, **kwargs)\n"
        "builtins.__import__ = watch\n"
        f"for module in {modules}:\n"
        "    if os.fork() == 0:\n"
        "        exec('import envs.tabletop.' + module)\n"
        "        print('imported', flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "DISPLAY")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "None" not in done.stdout.split()
    assert done.stdout.split().count("imported") == len(modules)


def test_an_unusable_scene_is_named_with_its_folder():
    class Elsewhere(find_task(REACH)):
        scene = "raech"

    with pytest.raises(SimScaleError, match=r"asset 'raech\.xml' is missing in /.*assets"):
        TaskSlots("Test/Elsewhere-v0", Elsewhere, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_slots": 0}, "expected at least 1 slot, got 0"), ({"max_episode_steps": 0}, "at least 1, got 0")],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(SimScaleError, match=message):
        make(REACH, **options)


def test_an_unknown_film_camera_is_a_mistake_that_names_the_others():
    env = make(REACH)
    begin(env)
    with pytest.raises(SimScaleError, match=f"Did you mean 'overview'.*{', '.join(FILM_CAMERAS)}"):
        env.frame(0, "overveiw", (32, 32))
