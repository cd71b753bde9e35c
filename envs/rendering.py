"""Frames of a simulation: the fast observation profile that policies see, and the video profile for people.

A GL backend is chosen here, before `mujoco` is first imported, and nothing is loaded until a frame is asked for:
state-only use works on a machine without any GL.
"""

from __future__ import annotations

import copy
import ctypes.util
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.interface import CAMERAS, SimScaleError, asset_path

if TYPE_CHECKING:
    import mujoco

    from envs.simulation import Simulation

HIDDEN_IN_OBSERVATIONS = ("SHADOW", "REFLECTION", "SKYBOX", "HAZE", "FOG")
"""Effects that the observation profile leaves out, as MuJoCo's render flags name them."""

OVERVIEW = "overview"
"""Shows arm, table and objects together, to people; belongs to no scene, and no policy sees through it."""

VIDEO_CAMERAS = (OVERVIEW, *CAMERAS)
"""What the video profile can be drawn through."""

_ADVICE = (
    "install software rendering (Debian: apt-get install libegl1 libgl1), or set MUJOCO_GL=egl if it is there but the "
    "display is not, or use a policy without images"
)


def choose_gl_backend() -> None:
    """Set MUJOCO_GL to EGL, else OSMesa, on a Linux machine without a display; runs before mujoco is imported."""
    if "MUJOCO_GL" in os.environ or not sys.platform.startswith("linux") or os.environ.get("DISPLAY"):
        return
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = backend
            return


class SceneRenderer:
    """Draws slots of one simulation at one size; holds one GL context."""

    def __init__(self, simulation: Simulation, size: tuple[int, int], *, video: bool = False) -> None:
        """Create a GL context.

        Args:
            simulation: What to draw.
            size: Height and width of a frame [px].
            video: Draw soft shadows and smooth edges, for people; otherwise the observation profile.

        Raises:
            SimScaleError: If no GL library works here, saying what to install.
        """
        import mujoco

        self._simulation = simulation
        self._data = mujoco.MjData(simulation.model)
        model = _video_model(simulation, size) if video else copy.deepcopy(simulation.model)
        model.vis.global_.offheight, model.vis.global_.offwidth = size
        try:
            with warnings.catch_warnings(action="ignore"):  # a GL library that fails may say so twice
                self._renderer = mujoco.Renderer(model, *size)
        except (ImportError, RuntimeError, AttributeError, mujoco.FatalError) as error:
            raise SimScaleError(f"cannot render ({' '.join(str(error).split())}); {_ADVICE}") from error
        if not video:
            for flag in HIDDEN_IN_OBSERVATIONS:
                self._renderer.scene.flags[int(getattr(mujoco.mjtRndFlag, f"mjRND_{flag}"))] = 0

    def draw(self, slot: int, cameras: tuple[str, ...], out: NDArray[np.uint8]) -> None:
        """Draw `slot` as each of `cameras` sees it into `out` (H, W, 3 · cameras)."""
        self._simulation.copy_data(slot, self._data)
        for index, camera in enumerate(cameras):
            self._renderer.update_scene(self._data, _overview() if camera == OVERVIEW else camera)
            out[..., 3 * index : 3 * index + 3] = self._renderer.render()

    def close(self) -> None:
        """Free the GL context."""
        self._renderer.close()


def renderer_name() -> str:
    """Return the GL renderer's own name of the current context, for the record; frames are equal only where it is."""
    from OpenGL import GL

    name: Any = GL.glGetString(GL.GL_RENDERER)
    return name.decode() if name else "none"


def _overview() -> mujoco.MjvCamera:
    import mujoco

    camera = mujoco.MjvCamera()
    camera.lookat[:] = 0.42, 0.0, 0.19
    camera.distance, camera.azimuth, camera.elevation = 1.25, 139.0, -31.0
    return camera


def _video_model(simulation: Simulation, size: tuple[int, int]) -> mujoco.MjModel:
    """Compile the same scene with the qualities that people like to look at; shadows as fine as frames of `size`."""
    import mujoco

    spec = mujoco.MjSpec.from_file(str(asset_path(f"{simulation.scene}.xml")))
    quality = spec.visual.quality
    quality.shadowsize = min(2048, 1 << (4 * max(size) - 1).bit_length())
    quality.offsamples, quality.numslices, quality.numstacks, quality.numquads = 4, 40, 24, 4
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.93, 0.95, 0.97),
        rgb2=(0.70, 0.75, 0.80),
        width=256,
        height=6 * 256,
    )
    return spec.compile()
