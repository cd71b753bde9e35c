"""What `--model` and `--policy-option` accept, and what is said about what they do not."""

import pytest

import policies.registry
from envs import find_environment
from policies.base import Needs
from policies.learned.adapter import PolicyAdapter
from policies.options import parse_options
from policies.registry import make_policy, shipped_checkpoints
from simscaleai.checkpoint import load_checkpoint, save_checkpoint
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.models.registry import create_model
from simscaleai.processing import Affine, Processor

REACH, PICK_PLACE = (find_environment(name).offer() for name in ("reach", "pick-place"))
SIZE = REACH.vectors["state"].size

POLICY = """
from policies.base import Needs, Policy


class Mine(Policy):
    def __init__(self, spec, *, speed=1.0, style="careful"):
        self.needs, self.speed, self.style = Needs(), speed, style
"""


def save(folder, model_name="bc", arguments=None, n_action_steps=1, module=None):
    arguments = {"state_dim": SIZE, "hidden_dim": 8, "n_layers": 1} if arguments is None else arguments
    save_checkpoint(
        folder,
        model=create_model(module or model_name, **arguments),
        model_name=model_name,
        model_arguments=arguments,
        needs=REACH.needs("state"),
        processor=Processor(vectors={"state": Affine((0.0,) * SIZE, (1.0,) * SIZE)}),
        training={},
        n_action_steps=n_action_steps,
        module=module,
    )
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    return save(tmp_path / "checkpoints" / "bc-reach")


@pytest.fixture
def shipped(checkpoint, monkeypatch):
    """Make `checkpoint` the only shipped one."""
    monkeypatch.setattr(policies.registry, "asset_path", lambda name: checkpoint.parent)


# Checkpoints


def test_a_models_name_finds_the_shipped_checkpoint_for_the_environment(shipped):
    policy = make_policy("bc", spec=REACH)
    assert isinstance(policy, PolicyAdapter)
    assert set(policy.needs.environments) == {"SimScale/Reach-v0"}


def test_without_a_shipped_checkpoint_it_says_what_to_do(shipped):
    with pytest.raises(ValueError, match="no shipped 'bc' checkpoint serves SimScale/PickPlace-v0; train one"):
        make_policy("bc", spec=PICK_PLACE)


def test_a_shipped_checkpoint_is_a_model_by_its_name(shipped):
    policy = make_policy("bc-reach", spec=REACH)
    assert set(policy.needs.environments) == {"SimScale/Reach-v0"}
    with pytest.raises(UnknownNameError, match=r"Unknown policy 'bc-raech'\. Did you mean 'bc-reach'"):
        make_policy("bc-raech", spec=REACH)


def test_a_folder_that_is_called_like_a_model_is_no_rival_unless_it_is_a_checkpoint(shipped, checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    (checkpoint.parent / "bc").mkdir()
    assert isinstance(make_policy("bc", spec=REACH), PolicyAdapter)
    with pytest.raises(
        ValueError, match=r"a name and a checkpoint folder here; say --model \./bc-reach for the folder"
    ):
        make_policy("bc-reach", spec=REACH)
    assert isinstance(make_policy("./bc-reach", spec=REACH), PolicyAdapter)


def test_a_folder_is_a_model_and_its_identity_is_the_checkpoints(checkpoint):
    policy = make_policy(str(checkpoint), spec=REACH)
    assert isinstance(policy, PolicyAdapter)
    assert policy.identity == load_checkpoint(checkpoint).digest


def test_the_code_of_a_users_own_model_is_a_part_of_its_identity(tmp_path, write):
    source = (
        "from torch import nn\n\n\nclass Linear(nn.Linear):\n    def __init__(self, state_dim):\n"
        "        super().__init__(state_dim, 4)\n\n    def predict(self, obs):\n        return self(obs['state'])\n"
    )
    file = write("linear.py", source)
    folder = save(tmp_path / "own", "linear:Linear", {"state_dim": SIZE}, module="linear:Linear")
    first = make_policy("linear:Linear", spec=REACH, checkpoint=folder).identity
    file.write_text(source.replace("obs['state']", "obs['state'] / 2"))
    assert make_policy("linear:Linear", spec=REACH, checkpoint=folder).identity != first


@pytest.mark.parametrize(
    ("model", "with_checkpoint", "message"),
    [
        ("scriptd", False, "Unknown policy 'scriptd'. Did you mean 'scripted'"),
        ("vla", True, "holds a 'bc' model, not 'vla'"),
        ("scripted", True, "has no weights"),
        ("no_such_module:x", False, "cannot use policy 'no_such_module:x'"),
        ("numpy:no_such", False, "cannot use policy 'numpy:no_such'"),
        (
            "numpy:pi",
            False,
            "'numpy:pi' does not make a policy: expected a function or a class, got an object of class float",
        ),
        ("lerobott:outputs/act", False, "Unknown kind of policy 'lerobott'. Did you mean 'lerobot'"),
        ("LeRobot:/outputs/act", False, "Did you mean 'lerobot'"),
        ("http://localhost:8000", False, "Choose from: lerobot, sb3, host, ws, wss"),
        ("lerobot:", False, "expected --model lerobot:PATH, got lerobot:$"),
        ("lerobot:outputs/act", True, "expected --model lerobot:PATH, without --checkpoint"),
        (":x", False, "cannot use policy ':x'"),
        (".a:b", False, "cannot use policy"),
    ],
)
def test_mistakes_are_one_line(checkpoint, model, with_checkpoint, message):
    with pytest.raises(SimScaleError, match=message) as error:
        make_policy(model, spec=REACH, checkpoint=checkpoint if with_checkpoint else None)
    assert "\n" not in str(error.value)


# Code


def test_a_users_own_policy(write):
    write("my_policies.py", POLICY)
    policy = make_policy("my_policies:Mine", spec=REACH)
    assert type(policy).__name__ == "Mine"
    assert (policy.speed, policy.style, policy.options) == (1.0, "careful", {})


def test_anything_with_the_members_is_a_policy(write):
    write(
        "plain.py",
        "from torch import nn\nfrom policies.base import Needs\n\n\nclass Plain(nn.Module):\n    needs = Needs()\n"
        "    def __init__(self, spec):\n        super().__init__()\n"
        "    def reset(self, slots, seeds, instructions): ...\n    def predict(self, observation, slots): ...\n",
    )
    assert make_policy("plain:Plain", spec=REACH).options == {}


RAISING = {
    "exit": ("import sys\nsys.exit('no GPU')", "SystemExit: no GPU", 3),
    "exit code": ("raise SystemExit(3)", "SystemExit: 3", 2),
    "error": ("weights = {}\nweights['a']", "KeyError: 'a'", 3),
    "lines": ("raise RuntimeError('first\\n  second')", "RuntimeError: first second", 2),
    "library": ("import numpy\nnumpy.load('no such file')", "FileNotFoundError: .*'no such file'", 3),
}


@pytest.mark.parametrize("when", ["imported", "built"])
@pytest.mark.parametrize("kind", RAISING)
def test_a_policy_that_breaks_off_is_one_line_with_its_place(write, when, kind):
    """A run of `sys.exit` would otherwise end the command with an exit code that means something else."""
    source, what, line = RAISING[kind]
    body = source if when == "imported" else "    " + source.replace("\n", "\n    ") + "\n    return None"
    head = "def make(spec):\n" if when == "built" else "make = None\n"
    file = write("breaking.py", f"{head}{body}\n")
    with pytest.raises(SimScaleError, match=rf"{what} \({file}, line {line}\)") as error:
        make_policy("breaking:make", spec=REACH)
    assert "\n" not in str(error.value)


def test_an_interrupt_is_no_mistake(write):
    write("interrupted.py", "def make(spec):\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        make_policy("interrupted:make", spec=REACH)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def make(spec): return None", "'odd:make' does not make a policy: it has no needs, reset, predict; see"),
        (
            "class make:\n  needs = {}\n  def __init__(self, spec): ...\n  reset = predict = None",
            "its `needs` is not a policies.base.Needs",
        ),
        ("def make(): ...", "TypeError: make\\(\\) takes 0 positional arguments but 1 was given$"),
        (
            "from dataclasses import dataclass\nfrom policies.base import Needs\n@dataclass(frozen=True)\nclass make:\n"
            "  spec: object\n  needs = Needs()\n  reset = predict = None\n",
            "does not let its options be set .*make it writable",
        ),
    ],
)
def test_what_is_no_policy_is_refused(write, source, message):
    write("odd.py", source)
    with pytest.raises(SimScaleError, match=message) as error:
        make_policy("odd:make", spec=REACH)
    assert "\n" not in str(error.value)


# Options


def test_options_are_read_as_users_type_them():
    assert parse_options(["n_action_steps=1", "path=a=b"]) == {"n_action_steps": "1", "path": "a=b"}
    for text in ("n_action_steps", "=1"):
        with pytest.raises(SimScaleError, match=f"expected --policy-option NAME=VALUE, got '{text}'"):
            parse_options([text])
    with pytest.raises(SimScaleError, match="expected one value for the policy option 'a', got two"):
        parse_options(["a=1", "a=2"])


@pytest.mark.parametrize("model", ["scripted", "random", "learned", "own:Mine"])
def test_every_policy_takes_the_options_of_execution(checkpoint, write, model):
    write("own.py", POLICY)
    model = str(checkpoint) if model == "learned" else model
    assert make_policy(model, spec=REACH, options={"n_action_steps": "1"}).options == {"n_action_steps": 1}
    assert make_policy(model, spec=REACH, options={"ensemble_decay": "0.01"}).options == {"ensemble_decay": 0.01}
    assert make_policy(model, spec=REACH, options={"synchronous": "true"}).options["synchronous"] is True


def test_a_chosen_way_to_execute_chunks_replaces_the_policys_own(write):
    write("own.py", POLICY + "        self.options = {'n_action_steps': 4, 'temperature': 2}\n")
    policy = make_policy("own:Mine", spec=REACH, options={"ensemble_decay": "0"})
    assert policy.options == {"temperature": 2, "ensemble_decay": 0}
    policy = make_policy("own:Mine", spec=REACH, options={"synchronous": "True"})
    assert policy.options == {"temperature": 2, "n_action_steps": 4, "synchronous": True}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{'n_action_steps': '4'}", "expected the policy option n_action_steps as int, got '4'"),
        ("{'n_action_steps': 0}", "expected n_action_steps of at least 1, got 0"),
        ("{'ensemble_decay': float('nan')}", "expected the policy option ensemble_decay as float, got nan"),
        ("{'device': object()}", "TypeError: object is no JSON data"),
        ("['n_action_steps']", "AttributeError: 'list' object has no attribute 'items'"),
    ],
)
def test_options_that_a_policy_sets_itself_are_checked_before_a_run(write, options, message):
    write("own.py", POLICY + f"        self.options = {options}\n")
    with pytest.raises(SimScaleError, match=message) as error:
        make_policy("own:Mine", spec=REACH)
    assert "\n" not in str(error.value)


def test_factories_get_their_own_options_by_keyword(write):
    write("own.py", POLICY)
    policy = make_policy("own:Mine", spec=REACH, options={"speed": "0.5", "style": "bold", "n_action_steps": "1"})
    assert (policy.speed, policy.style) == (0.5, "bold")
    assert policy.options == {"speed": 0.5, "style": "bold", "n_action_steps": 1}


def test_a_factory_that_takes_any_option_gets_all(write):
    write("own.py", POLICY + "\ndef make(spec, **options):\n    return Mine(spec, **options)\n")
    assert make_policy("own:make", spec=REACH, options={"speed": "2"}).speed == 2
    with pytest.raises(SimScaleError, match=r"TypeError: .*unexpected keyword argument 'sped'"):
        make_policy("own:make", spec=REACH, options={"sped": "2"})


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("scripted", {"n_action_step": "1"}, "Unknown policy option 'n_action_step'. Did you mean 'n_action_steps'?"),
        (
            "learned",
            {"ensemble": "1"},
            "Did you mean 'ensemble_decay'? Choose from: n_action_steps, ensemble_decay, synchronous.",
        ),
        (
            "own:Mine",
            {"speed": "1", "stile": "bold"},
            "Unknown policy option 'stile'. Did you mean 'style'? "
            "Choose from: n_action_steps, ensemble_decay, synchronous, speed, style.",
        ),
        ("scripted", {"n_action_steps": "0"}, "expected n_action_steps of at least 1, got 0"),
        ("scripted", {"n_action_steps": "two"}, "expected the policy option n_action_steps as int, got 'two'"),
        ("scripted", {"n_action_steps": "1.5"}, "expected the policy option n_action_steps as int, got '1.5'"),
        ("scripted", {"n_action_steps": "True"}, "expected the policy option n_action_steps as int, got 'True'"),
        ("scripted", {"ensemble_decay": "1e999"}, "expected the policy option ensemble_decay as float, got '1e999'"),
        ("scripted", {"n_action_steps": "9" * 400}, "expected the policy option n_action_steps as int, got '9999"),
        ("scripted", {"ensemble_decay": "9" * 400}, "expected the policy option ensemble_decay as float, got '9999"),
        ("scripted", {"ensemble_decay": "-1e300"}, "expected the policy option ensemble_decay as float, got '-1e300'"),
        ("scripted", {"synchronous": "1"}, "expected the policy option synchronous as bool, got '1'"),
        ("scripted", {"n_action_steps": "1", "ensemble_decay": "0"}, "n_action_steps or ensemble_decay, got both"),
        ("learned", {"n_action_steps": "2"}, "expected n_action_steps of 1 to 1, the length of the model's chunks"),
    ],
)
def test_an_option_that_does_not_exist_or_cannot_be_is_refused(checkpoint, write, model, options, message):
    write("own.py", POLICY)
    with pytest.raises(SimScaleError) as error:
        make_policy(str(checkpoint) if model == "learned" else model, spec=REACH, options=options)
    assert message in str(error.value)


# Entry points


@pytest.fixture
def install(folder):
    """Installs a distribution that declares policies, name to what it points to."""

    def write_metadata(points, distribution="my_robots"):
        info = folder / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[simscaleai.policies]", *lines, ""]))

    return write_metadata


def test_a_policy_of_another_package_works_by_its_name(install, write, capsys):
    file = write("my_robots/policies.py", POLICY)
    install({"mine": "my_robots.policies:Mine"})
    policy = make_policy("mine", spec=REACH, options={"speed": "3"})
    assert (type(policy).__name__, policy.speed) == ("Mine", 3)
    file.write_text(POLICY + "# changed\n")
    assert make_policy("mine", spec=REACH, options={"speed": "3"}).identity != policy.identity
    with pytest.raises(UnknownNameError, match="Did you mean 'mine'"):
        make_policy("mines", spec=REACH)
    with pytest.raises(SimScaleError, match="'mine' has no weights"):
        make_policy("mine", spec=REACH, checkpoint=shipped_checkpoints()[0])

    from policies.__main__ import main

    assert main([]) == 0
    assert "my_robots.policies:Mine" in capsys.readouterr().out


def test_names_of_this_project_stay_what_they_are(install, write, shipped):
    write("my_robots/policies.py", POLICY)
    install(dict.fromkeys(("scripted", "bc", "bc-reach"), "my_robots.policies:Mine"))
    assert type(make_policy("scripted", spec=REACH)).__name__ == "ReachExpert"
    for name in ("bc", "bc-reach"):
        assert isinstance(make_policy(name, spec=REACH), PolicyAdapter)


def test_two_packages_with_one_name_are_refused(install, write):
    write("my_robots/policies.py", POLICY)
    install({"mine": "my_robots.policies:Mine"})
    install({"mine": "their_robots.policies:Theirs"}, "their_robots")
    with pytest.raises(SimScaleError, match=r"expected one entry point 'mine' .*; uninstall the others") as error:
        make_policy("mine", spec=REACH)
    for place in ("my_robots.policies:Mine", "their_robots.policies:Theirs"):
        assert place in str(error.value)


@pytest.mark.parametrize("source", ["import no_such_module", "raise SystemExit(1)", "Other = 1"])
def test_a_package_that_cannot_be_loaded_is_one_line(install, write, source):
    write("my_robots/policies.py", source)
    install({"mine": "my_robots.policies:Mine"})
    with pytest.raises(SimScaleError, match=r"cannot load 'mine' from my_robots\.policies:Mine ") as error:
        make_policy("mine", spec=REACH)
    assert "\n" not in str(error.value)


def test_needs_of_a_policy_without_observations_are_empty():
    assert make_policy("zero", spec=REACH).needs == Needs()
