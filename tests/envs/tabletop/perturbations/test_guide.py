"""The guide to perturbations lists every axis of the tabletop tasks as it is."""

from pathlib import Path

from perturbed_worlds import NAMES, axes_of

GUIDE = (Path(__file__).resolve().parents[4] / "docs/guides/perturbations.md").read_text()


def test_the_guide_lists_the_axes_with_their_levels():
    for axis in {axis.name: axis for name in NAMES for axis in axes_of(name)}.values():
        levels = " ".join(f"{magnitude:g}" for magnitude in axis.magnitudes)
        assert f"| `{axis.name}` | {axis.unit} | {levels} | {axis.changes} | {axis.summary.rstrip('.')} |" in GUIDE
