"""Names of environments: built-in ones, a user's own, and those of other packages."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import envs.__main__
from envs import Registration, environment_names, find_environment, register_environment, register_task
from envs.registration import _REGISTERED, unusable_environments
from envs.slots import EnvSpec, Start
from simscaleai.errors import SimScaleError, UnknownNameError

ELSEWHERE = """
    from envs.registration import Registration
    from envs.slots import ActionSpec, EnvSpec

    def offer():
        return EnvSpec(
            env_id="Else/Push-v1", digest="1", vectors={}, control_hz=5, max_episode_steps=9, success="Pushed over.",
            action=ActionSpec(names=("left", "right"), low=(0.0, 0.0), high=(1.0, 2.0), meaning="wheel speeds"),
        )

    push = Registration("push", "Else/Push-v1", offer, make=None, summary="Push it over.")

    def make_push():
        return push

    def raises():
        raise OSError("no licence\\nfound")

    def leaves():
        raise SystemExit(3)

    number = 7
    shove = Registration("shove", "Else/Push-v1", offer, make=None)
    twin = Registration("twin", "SimScale/Reach-v0", offer, make=None)
    later = Registration("later", "Else/Later-v1", raises, make=None, summary="Some other day.")
"""


@pytest.fixture
def own(monkeypatch):
    """Restores what is registered."""
    for name, registration in _REGISTERED.items():
        monkeypatch.setitem(_REGISTERED, name, registration)
    known = set(_REGISTERED)
    yield
    for name in set(_REGISTERED) - known:
        del _REGISTERED[name]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Returns a function that installs a package with the given entry points."""
    (tmp_path / "elsewhere.py").write_text(textwrap.dedent(ELSEWHERE))
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(distribution="else", **points):
        folder = tmp_path / f"{distribution}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (folder / "entry_points.txt").write_text(f"[simscaleai.envs]\n{lines}\n")

    yield add
    sys.modules.pop("elsewhere", None)


def test_an_environment_is_found_by_its_name_and_its_id():
    for name, env_id in environment_names().items():
        assert find_environment(name) is find_environment(env_id) is find_environment(f"envs:{env_id}")
        assert find_environment(name).offer().env_id == env_id


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raech", "Unknown environment 'raech'. Did you mean 'reach'"),
        ("SimScale/Raech-v0", "Did you mean 'SimScale/Reach-v0'"),
        ("envs:SimScale/Raech-v0", "Unknown environment 'SimScale/Raech-v0'. Did you mean 'SimScale/Reach-v0'"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(name, message):
    with pytest.raises(UnknownNameError, match=message):
        find_environment(name)


def test_a_registration_makes_slots_with_the_keys_that_are_needed():
    registration = find_environment("pick-place")
    spec = registration.offer()
    env = registration.make(2, spec.needs("environment_state", cameras={"wrist": (16, 24)}), True, 7)
    env.reset(np.arange(2), [Start(3_000_000_000), Start(3_000_000_001)])
    observation = env.observe(np.arange(2), np.ones(2, dtype=bool))
    assert {key: rows.shape for key, rows in observation.items()} == {
        "environment_state": (2, 10),
        "wrist": (2, 16, 24, 3),
    }
    assert env.spec.max_episode_steps == 7
    env.close()


def test_registrations_of_tasks_can_be_sent_to_another_process():
    registration = pickle.loads(pickle.dumps(find_environment("reach")))  # noqa: S301
    assert registration.offer() == find_environment("reach").offer()


def test_an_offer_survives_json():
    for name in environment_names():
        spec = find_environment(name).offer()
        assert EnvSpec.from_json(spec.to_json()) == spec


def test_listing_and_finding_load_no_simulator():
    code = (
        "import sys, envs; envs.find_environment('reach'); envs.environment_names();"
        "print(sorted({'mujoco', 'torch', 'PIL', 'tyro'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_own_environment_is_found_and_can_be_replaced(own):
    for summary in ("First.", "Second."):
        register_environment(Registration("mine", "Mine/One-v0", offer=dict, make=None, summary=summary))
        assert find_environment("mine").summary == summary
    assert environment_names()["mine"] == "Mine/One-v0"


@pytest.mark.parametrize(("name", "env_id"), [("reach", "Mine/Reach-v0"), ("mine", "SimScale/Reach-v0")])
def test_a_name_or_id_that_is_taken_is_refused(own, name, env_id):
    with pytest.raises(SimScaleError, match="'reach' is registered as 'SimScale/Reach-v0'"):
        register_environment(Registration(name, env_id, offer=dict, make=None))
    with pytest.raises(SimScaleError, match="choose another name and id"):
        register_task(name, env_id, "nowhere:Nothing")


@pytest.mark.filterwarnings("ignore:.*Overriding environment")
@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("envs.tabletop.tasks.raech:Reach", "cannot find module 'envs.tabletop.tasks.raech' of the registered task"),
        ("envs.tabletop.tasks.reach:Raech", "no class 'Raech' in "),
    ],
)
def test_a_task_registered_at_a_wrong_place_is_named(own, location, message):
    register_task("elsewhere", "Mine/Elsewhere-v0", location)
    with pytest.raises(SimScaleError, match=message):
        find_environment("elsewhere").offer()


@pytest.mark.parametrize("value", ["elsewhere:push", "elsewhere:make_push"])
def test_another_packages_environment_is_found_by_name_and_id(install, capsys, value):
    install(push=value)
    assert find_environment("push").env_id == find_environment("Else/Push-v1").env_id == "Else/Push-v1"
    assert environment_names()["push"] == "Else/Push-v1"
    assert unusable_environments() == {}
    assert envs.__main__.main([]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "push Else/Push-v1 Push it over." in out
    assert "left (0 to 1), right (0 to 2): wheel speeds; 5 control steps per second." in out
    assert "success Pushed over. episode end At success, or after 9 control steps." in out


def test_another_package_is_not_loaded_before_it_is_needed(install):
    install(push="elsewhere:push")
    find_environment("reach")
    find_environment("SimScale/Reach-v0")
    assert "elsewhere" not in sys.modules


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("missing_package:env", "missing_package"),
        ("elsewhere:raises", "OSError: no licence found"),
        ("elsewhere:leaves", "SystemExit: 3"),
        ("elsewhere:number", "TypeError"),
        ("elsewhere:dict", "elsewhere"),
        ("elsewhere:offer", "expected a Registration, or a function that returns one"),
        ("elsewhere:push", "expected a Registration named 'broken'"),
    ],
)
def test_a_package_that_fails_is_named_with_the_reason_and_harms_no_other(install, capsys, value, reason):
    install(broken=value, push="elsewhere:push")
    with pytest.raises(SimScaleError, match=reason) as error:
        find_environment("broken")
    assert "broken" in str(error.value)
    assert "\n" not in str(error.value)
    assert environment_names()["push"] == "Else/Push-v1"
    assert "broken" not in environment_names()
    assert envs.__main__.main([]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "broken cannot be used" in out
    assert reason.split()[0] in out


def test_a_clash_with_a_built_in_name_is_an_error_that_names_both(install, capsys):
    install(reach="elsewhere:push")
    with pytest.raises(SimScaleError, match=r"SimScale/Reach-v0.*elsewhere:push"):
        find_environment("reach")
    assert find_environment("SimScale/Reach-v0").name == "reach"
    assert find_environment("pick-place").env_id == "SimScale/PickPlace-v0"
    assert environment_names()["reach"] == "SimScale/Reach-v0"
    assert "two environments are called 'reach'" in unusable_environments()["reach"]


def test_a_clash_of_two_packages_is_an_error_that_names_both(install):
    install("one", push="elsewhere:push")
    install("two", push="elsewhere:make_push")
    with pytest.raises(SimScaleError, match=r"elsewhere:make_push.*elsewhere:push|elsewhere:push.*elsewhere:make_push"):
        find_environment("push")


def test_two_packages_with_the_same_id_are_both_named_when_it_is_asked_for(install):
    install("one", push="elsewhere:push")
    install("two", shove="elsewhere:shove")
    with pytest.raises(SimScaleError, match="'push' and 'shove' of other packages have the same id 'Else/Push-v1'"):
        find_environment("Else/Push-v1")
    assert find_environment("shove").name == "shove"
    assert find_environment("SimScale/Reach-v0").name == "reach"


def test_entry_points_are_read_once_and_again_when_a_place_is_added(install, tmp_path, monkeypatch):
    install(push="elsewhere:push")
    find_environment("push")
    monkeypatch.setattr("simscaleai.extensions.entry_points.entry_points", lambda **_: pytest.fail("read again"))
    find_environment("push")
    monkeypatch.undo()
    (tmp_path / "more").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    install("more/new", shove="elsewhere:shove")
    assert find_environment("shove").name == "shove"


def test_a_clash_with_a_built_in_id_is_an_error(install):
    install(twin="elsewhere:twin")
    with pytest.raises(SimScaleError, match="has the id 'SimScale/Reach-v0', which the environment 'reach' has"):
        find_environment("twin")


def test_an_environment_that_cannot_be_described_is_listed_with_its_summary(own, capsys):
    def offer():
        raise SimScaleError("the simulator of 'later' is not installed")

    register_environment(Registration("later", "Else/Later-v1", offer, make=None, summary="Some other day."))
    assert envs.__main__.main([]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "later Else/Later-v1 Some other day. problem the simulator of 'later' is not installed" in out
