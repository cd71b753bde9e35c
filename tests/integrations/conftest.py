"""Finds the plugins, and stands in for `lerobot` where it is not installed."""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


class FeatureType(enum.Enum):
    """As in lerobot 0.6."""

    STATE = "STATE"
    VISUAL = "VISUAL"
    ACTION = "ACTION"


@dataclass
class PolicyFeature:
    """As in lerobot 0.6."""

    type: FeatureType
    shape: tuple[int, ...]


@dataclass
class EnvConfig:
    """The fields that the plugin uses, as in lerobot 0.6."""

    task: str | None = None
    fps: int = 30
    features: dict = field(default_factory=dict)
    features_map: dict = field(default_factory=dict)

    @classmethod
    def register_subclass(cls, name):
        return lambda subclass: subclass


STAND_IN = {
    "lerobot": {},
    "lerobot.configs": {"FeatureType": FeatureType, "PolicyFeature": PolicyFeature},
    "lerobot.envs": {},
    "lerobot.envs.configs": {"EnvConfig": EnvConfig},
    "lerobot.utils": {},
    "lerobot.utils.constants": {"ACTION": "action", "OBS_IMAGES": "observation.images", "OBS_STR": "observation"},
}


@pytest.fixture(scope="module")
def lerobot_plugin():
    """Returns the plugin for LeRobot."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(ROOT / "integrations/lerobot_env_simscale")
        if find_spec("lerobot") is None:
            for name, members in STAND_IN.items():
                module = ModuleType(name)
                vars(module).update(members)
                monkeypatch.setitem(sys.modules, name, module)
        import lerobot_env_simscale

        yield lerobot_env_simscale


@pytest.fixture(scope="module")
def inspect_plugin():
    """Returns the plugin for inspect-robots."""
    pytest.importorskip("inspect_robots", reason="pip install -e '.[dev]'")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(ROOT / "integrations/inspect_robots_simscale")
        import inspect_robots_simscale

        yield inspect_robots_simscale
