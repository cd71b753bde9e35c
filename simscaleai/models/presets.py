"""Named sizes of the VLA. `python -m benchmarks.training.models` measures their numbers of parameters."""

from __future__ import annotations

from simscaleai.errors import UnknownNameError

_PRESETS = {
    "debug": {"embed_dim": 64, "num_heads": 2, "num_layers": 2},
    "small": {"embed_dim": 128, "num_heads": 4, "num_layers": 4},
    "medium": {"embed_dim": 256, "num_heads": 8, "num_layers": 8},
    "large": {"embed_dim": 512, "num_heads": 16, "num_layers": 12},
    "xl": {"embed_dim": 1024, "num_heads": 16, "num_layers": 24},
}


def list_presets() -> list[str]:
    """Return the names of the sizes, from the smallest to the largest."""
    return list(_PRESETS)


def preset_arguments(name: str) -> dict[str, int]:
    """Return the constructor arguments of a VLA size: `create_model("vla", **preset_arguments("small"))`.

    Raises:
        UnknownNameError: If there is no such preset.
    """
    if name not in _PRESETS:
        raise UnknownNameError("preset", name, _PRESETS)
    return dict(_PRESETS[name])
