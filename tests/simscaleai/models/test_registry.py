import subprocess
import sys
from types import ModuleType

import pytest
from torch import nn

from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.models import ModelRegistry, register_model, registry
from simscaleai.models.registry import create_model, list_models, resolve_model


@pytest.fixture(autouse=True)
def restored_registry():
    before = dict(registry._MODELS)
    yield
    registry._MODELS.clear()
    registry._MODELS.update(before)


@pytest.fixture
def user_module(monkeypatch):
    module = ModuleType("users_package")
    module.Policy = type("Policy", (nn.Module,), {"__module__": "users_package"})
    module.not_a_model = 3
    monkeypatch.setitem(sys.modules, "users_package", module)
    return module


def test_lists_the_built_in_models():
    assert ModelRegistry.list() == list_models() == ["bc", "vla"]


def test_listing_imports_no_torch():
    code = (
        "import sys; from simscaleai.models import ModelRegistry, register_model; ModelRegistry.list(); "
        "import simscaleai.models.presets; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["bc", "vla"])
def test_built_in_entries_are_importable(name):
    assert issubclass(resolve_model(name), nn.Module)


def test_unknown_name_proposes_the_nearest():
    with pytest.raises(ValueError, match=r"^Unknown model 'vlaa'\. Did you mean 'vla'\? Choose from: bc, vla\.$"):
        ModelRegistry.create("vlaa")


def test_unknown_argument_proposes_the_nearest():
    with pytest.raises(UnknownNameError, match=r"argument of model vla: 'embed_dims'. Did you mean 'embed_dim'"):
        create_model("vla", embed_dims=64)


def test_registers_a_model_of_ones_own():
    @register_model("mine")
    class Mine(nn.Module):
        pass

    assert ModelRegistry.list() == ["bc", "mine", "vla"]
    assert isinstance(ModelRegistry.create("mine"), Mine)


def test_decorator_returns_the_class_unchanged():
    class Mine(nn.Module):
        pass

    assert register_model("mine")(Mine) is Mine


def test_two_models_cannot_share_a_name():
    with pytest.raises(SimScaleError, match=r"'vla' belongs to simscaleai\.models\.vla:VisionLanguageAction"):

        @register_model("vla")
        class Mine(nn.Module):
            pass

    assert list_models() == ["bc", "vla"]


def test_a_class_defined_anew_takes_its_own_place():
    def define():
        @register_model("mine")
        class Mine(nn.Module):
            pass

        return Mine

    define()
    latest = define()
    assert resolve_model("mine") is latest


@pytest.mark.parametrize("name", ["", "package.module:Class"])
def test_refuses_names_that_cannot_be_typed(name):
    with pytest.raises(SimScaleError, match="name"):
        register_model(name)


def test_resolves_module_and_class(user_module):
    assert resolve_model("users_package:Policy") is user_module.Policy
    assert isinstance(create_model("users_package:Policy"), user_module.Policy)
    assert list_models() == ["bc", "vla"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package.models:Policy", "cannot import 'no_such_package.models'.*No module named"),
        (":Policy", "cannot import ''"),
        ("users_package:Polizy", "Unknown model in users_package: 'Polizy'. Did you mean 'Policy'"),
        ("users_package:not_a_model", "must be a subclass of torch.nn.Module, got 3"),
    ],
)
def test_wrong_module_paths_say_what_is_wrong(user_module, name, message):
    with pytest.raises(ValueError, match=message):
        resolve_model(name)
