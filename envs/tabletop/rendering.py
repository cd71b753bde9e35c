"""Draws simulations in two profiles: the fast observation profile for policies, and the video profile for people.

GL is loaded when the first picture is drawn, so a machine without GL can run everything that needs no images. `mujoco`
is imported inside the functions: `envs.tabletop.simulation` must choose the GL backend first.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.names import OVERVIEW
from envs.tabletop.simulation import Simulation
from simscaleai.assets import asset_path
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    import mujoco

HIDDEN_IN_OBSERVATIONS = ("SHADOW", "REFLECTION", "SKYBOX", "HAZE", "FOG")
"""Names of the MuJoCo render flags that the observation profile switches off."""

_ADVICE = (
    "install software rendering (Debian: apt-get install libegl1 libgl1), or set MUJOCO_GL=egl if EGL is installed but "
    "there is no display, or use a policy without images"
)


class SceneRenderer:
    """Draws the slots of one simulation in one image size. Owns one GL context."""

    def __init__(self, simulation: Simulation, size: tuple[int, int], *, video: bool = False) -> None:
        """Create a GL context.

        Args:
            simulation: Simulations to draw.
            size: Height and width of a picture [px].
            video: Whether to use the video profile, with soft shadows and smooth edges, or the observation profile.

        Raises:
            SimScaleError: If no GL library works on this machine. The message says what to install.
        """
        import mujoco

        self._simulation = simulation
        self._data = mujoco.MjData(simulation.model)
        model = _video_model(simulation, size) if video else copy.deepcopy(simulation.model)
        model.vis.global_.offheight, model.vis.global_.offwidth = size
        try:
            with warnings.catch_warnings(action="ignore"):  # a GL library that fails may warn twice
                self._renderer = mujoco.Renderer(model, *size)
        except (ImportError, RuntimeError, AttributeError, mujoco.FatalError) as error:
            raise SimScaleError(f"cannot render ({' '.join(str(error).split())}); {_ADVICE}") from error
        if not video:
            for flag in HIDDEN_IN_OBSERVATIONS:
                self._renderer.scene.flags[int(getattr(mujoco.mjtRndFlag, f"mjRND_{flag}"))] = 0

    def draw(self, slot: int, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """Draw `slot`.

        Args:
            slot: The simulation to draw.
            pictures: Camera to the contiguous array (height, width, 3) that its picture is written into.
        """
        self._simulation.copy_data(slot, self._data)
        for camera, picture in pictures.items():
            self._renderer.update_scene(self._data, _overview() if camera == OVERVIEW else camera)
            self._renderer.render(out=picture)

    def gl_name(self) -> str:
        """Return the name of the GL renderer. Two machines draw equal pictures only if their names are equal."""
        from OpenGL import GL

        name: Any = GL.glGetString(GL.GL_RENDERER)
        return name.decode() if name else "none"

    def close(self) -> None:
        """Free the GL context."""
        self._renderer.close()


def _overview() -> mujoco.MjvCamera:
    import mujoco

    camera = mujoco.MjvCamera()
    camera.lookat[:] = 0.42, 0.0, 0.19
    camera.distance, camera.azimuth, camera.elevation = 1.25, 139.0, -31.0
    return camera


def _video_model(simulation: Simulation, size: tuple[int, int]) -> mujoco.MjModel:
    """Compile the same scene at a higher drawing quality, with a shadow resolution that fits pictures of `size`."""
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
