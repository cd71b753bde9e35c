"""Draws simulations in two profiles: the fast observation profile for policies, and the video profile for people.

GL is loaded when the first picture is drawn, so a machine without GL can run everything that needs no images. `mujoco`
is imported inside the functions: `envs.tabletop.simulation` must choose the GL backend first.

`mujoco.Renderer` is not used. Its backend is fixed when a program imports `mujoco`, which may be too early, and its GL
context stays current in the thread that drew last, so no other thread can draw.
"""

from __future__ import annotations

import copy
import importlib
import os
import sys
import warnings
import weakref
from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.forks import SPAWN, never_destroy_in_forked_processes
from envs.tabletop.names import CAMERAS, OVERVIEW
from envs.tabletop.simulation import TEXTURE, Edits, Simulation
from envs.tabletop.variant.scene import variant_spec
from simscaleai.assets import asset_path
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    import mujoco

HIDDEN_IN_OBSERVATIONS = ("SHADOW", "REFLECTION", "SKYBOX", "HAZE", "FOG")
"""Names of the MuJoCo render flags that the observation profile switches off."""

SHADOW_LAMPS = 4
"""Lamps that share the light of each light that casts shadows, in the video profile. With the headlight and the other
light they are six. OpenGL has eight."""
_LAMP_RADIUS = 0.06
"""Radius of the disc that these lamps lie on [m]. Half-shadows of the gripper become about a centimetre wide."""
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
"""Angle between neighbouring lamps [rad]. It spreads any number of them evenly (Vogel, Math. Biosciences 44, 1979)."""

_LIGHT_FIELDS = (
    *("ambient", "attenuation", "castshadow", "cutoff", "diffuse", "dir", "exponent", "headlight", "id", "intensity"),
    *("range", "specular", "texid", "type"),
)
"""What the lamps have of their light."""

_ADVICE = (
    "install software rendering (Debian: apt-get install libegl1 libgl1), or set MUJOCO_GL=egl if EGL is installed but "
    "there is no display, or use a policy without images"
)
_first_process: int | None = None
"""Id of the process that created the first GL context. GL hangs in the processes that are forked from it."""


class SceneRenderer:
    """Draws the slots of one simulation in one image size. Owns one GL context."""

    def __init__(
        self, simulation: Simulation, size: tuple[int, int], *, video: bool = False, variant: bool = False
    ) -> None:
        """Create a GL context.

        Args:
            simulation: Simulations to draw.
            size: Height and width of a picture [px].
            video: Whether to use the video profile, with soft shadows and smooth edges, or the observation profile.
            variant: Whether to draw the variant of the scene, with distractors and a texture.

        Raises:
            SimScaleError: If no GL library works on this machine. The message says what to install.
        """
        import mujoco

        _check_process()
        self._simulation, self._video = simulation, video
        self._data = mujoco.MjData(simulation.model)
        self._edits: Edits | None = None  # of the slot that was drawn last
        self._nominal = _drawn_model(simulation, size, video, variant)
        self._model = copy.deepcopy(self._nominal)
        self._variant_data = mujoco.MjData(self._model) if variant else None
        self._model.vis.global_.offheight, self._model.vis.global_.offwidth = size
        self._scene, self._options = mujoco.MjvScene(self._model, maxgeom=10_000), mujoco.MjvOption()
        self._cameras = {OVERVIEW: _overview(), **{name: _fixed(self._model.camera(name).id) for name in CAMERAS}}
        self._rectangle = mujoco.MjrRect(0, 0, size[1], size[0])
        try:
            with warnings.catch_warnings(action="ignore"):  # a GL library that fails may warn twice
                self._context = _make_context(*size)
                with self._context.as_current():
                    self._resources = mujoco.MjrContext(self._model, int(mujoco.mjtFontScale.mjFONTSCALE_150))
                    mujoco.mjr_setBuffer(int(mujoco.mjtFramebuffer.mjFB_OFFSCREEN), self._resources)
        except (ImportError, RuntimeError, AttributeError, mujoco.FatalError) as error:
            raise SimScaleError(f"cannot render ({' '.join(str(error).split())}); {_ADVICE}") from error
        never_destroy_in_forked_processes(self)
        self._free = weakref.finalize(self, _free, self._context, self._resources)
        if not video:
            for flag in HIDDEN_IN_OBSERVATIONS:
                self._scene.flags[int(getattr(mujoco.mjtRndFlag, f"mjRND_{flag}"))] = 0

    def draw(self, pictures: Mapping[int, Mapping[str, NDArray[np.uint8]]]) -> None:
        """Draw slots.

        Args:
            pictures: For each slot, camera to the contiguous array (height, width, 3) that its picture is written into.

        Raises:
            SimScaleError: If this process was forked from one that had drawn.
        """
        import mujoco

        _check_process()
        everything = int(mujoco.mjtCatBit.mjCAT_ALL)
        with self._context.as_current():
            for slot, views in pictures.items():
                data = self._pose(slot)
                for camera, picture in views.items():
                    view = self._cameras[camera]
                    mujoco.mjv_updateScene(self._model, data, self._options, None, view, everything, self._scene)
                    if self._video:
                        _soften_shadows(self._scene)
                    mujoco.mjr_render(self._rectangle, self._scene, self._resources)
                    mujoco.mjr_readPixels(picture, None, self._rectangle, self._resources)
                    picture[:] = np.flipud(picture)

    def _pose(self, slot: int) -> mujoco.MjData:
        """Give the model the edits of `slot`, and return data with the poses of everything to draw."""
        import mujoco

        edits = self._simulation.edits[slot]
        self._simulation.copy_data(slot, self._data)
        if edits is not self._edits:
            self._dress(edits)
        if self._variant_data is not None:
            self._copy_to_variant(slot, self._variant_data)
        elif edits:
            mujoco.mj_camlight(self._model, self._data)  # the data have the poses of the scene's cameras and lights
        return self._data if self._variant_data is None else self._variant_data

    def _dress(self, edits: Edits) -> None:
        """Give the model the values of `edits`, and restore all other fields."""
        for field in self._edits or {}:
            attrgetter(field)(self._model)[:] = attrgetter(field)(self._nominal)
        for field, values in edits.items():
            attrgetter(field)(self._model)[: len(values)] = values
        if TEXTURE in edits:
            import mujoco

            mujoco.mjr_uploadTexture(self._model, self._resources, self._model.texture("table").id)
        if self._variant_data is not None:  # a plain table without a texture is quicker to draw than with a white one
            table = self._model.material("table").id
            self._model.mat_texid[table] = self._nominal.mat_texid[table] if TEXTURE in edits else -1
        self._edits = edits

    def _copy_to_variant(self, slot: int, data: mujoco.MjData) -> None:
        """Copy the poses of `slot` to `data` of the variant."""
        import mujoco

        data.qpos[:] = self._model.qpos0
        data.qpos[: self._data.qpos.size] = self._data.qpos
        if state := self._simulation.distractor_state(slot):
            data.qpos[self._data.qpos.size :] = state[0].ravel()
        data.mocap_pos[:], data.mocap_quat[:] = self._data.mocap_pos, self._data.mocap_quat
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)

    def gl_name(self) -> str:
        """Return the name of the GL renderer. Two machines draw equal pictures only if their names are equal."""
        from OpenGL import GL

        _check_process()
        with self._context.as_current():
            name: Any = GL.glGetString(GL.GL_RENDERER)
        return name.decode() if name else "none"

    def close(self) -> None:
        """Free the GL context."""
        self._free()


def _check_process() -> None:
    """Raise `SimScaleError` in a process that was forked from one that had drawn."""
    global _first_process
    _first_process = _first_process or os.getpid()
    if _first_process != os.getpid():
        raise SimScaleError(f"cannot render in a process that was forked from one that had rendered; {SPAWN}")


def _make_context(height: int, width: int) -> Any:
    """Return a GL context of MuJoCo for the backend that MUJOCO_GL names now.

    Raises:
        RuntimeError: If there is no display for the backend. MuJoCo would end the process at the second attempt.
    """
    import mujoco

    backend = os.environ.get("MUJOCO_GL", "").lower().strip()
    if sys.platform.startswith("linux"):
        if backend in ("egl", "osmesa"):
            return importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            raise RuntimeError(f"MUJOCO_GL={backend or 'glfw'} needs a display")
    context = mujoco.GLContext(width, height)
    if not getattr(context, "_context", True):  # GLFW has warned, and made no window
        raise RuntimeError(f"MUJOCO_GL={backend or 'glfw'} cannot open the display")
    return context


def _free(context: Any, resources: mujoco.MjrContext) -> None:
    """Free a GL context and what it holds, unless they belong to the process that this one was forked from."""
    if _first_process == os.getpid():
        with context.as_current():
            resources.free()
        context.free()


def _soften_shadows(scene: mujoco.MjvScene) -> None:
    """Replace each light of `scene` that casts shadows by `SHADOW_LAMPS` lamps, whose shadows overlap at their edges.

    MuJoCo's renderer draws the shadow of a point. `MjvLight.softness` and `bulbradius` do not change it.
    """
    for light in [scene.lights[index] for index in range(scene.nlight)]:
        if light.castshadow:
            for colour in (light.ambient, light.diffuse, light.specular):
                colour /= SHADOW_LAMPS
            places = light.pos + _lamp_offsets(light.dir.astype(np.float64))
            for place in places[1:]:
                lamp = scene.lights[scene.nlight]
                for name in _LIGHT_FIELDS:
                    setattr(lamp, name, getattr(light, name))
                lamp.pos = place
                scene.nlight += 1
            light.pos = places[0]


def _lamp_offsets(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places on a disc across `direction` (3,), (SHADOW_LAMPS, 3) [m]."""
    numbers = np.arange(SHADOW_LAMPS)
    radius, angle = _LAMP_RADIUS * np.sqrt((numbers + 0.5) / SHADOW_LAMPS), _GOLDEN_ANGLE * numbers
    first = np.cross(direction, np.eye(3)[np.abs(direction).argmin()])
    first /= np.linalg.norm(first)
    second = np.cross(direction, first) / np.linalg.norm(direction)
    return np.outer(radius * np.cos(angle), first) + np.outer(radius * np.sin(angle), second)


def _fixed(number: int) -> mujoco.MjvCamera:
    """Return the camera `number` of the scene."""
    import mujoco

    camera = mujoco.MjvCamera()
    camera.type, camera.fixedcamid = int(mujoco.mjtCamera.mjCAMERA_FIXED), number
    return camera


def _overview() -> mujoco.MjvCamera:
    import mujoco

    camera = mujoco.MjvCamera()
    camera.lookat[:] = 0.42, 0.0, 0.19
    camera.distance, camera.azimuth, camera.elevation = 1.25, 139.0, -31.0
    return camera


def _drawn_model(simulation: Simulation, size: tuple[int, int], video: bool, variant: bool) -> mujoco.MjModel:
    """Return the model to draw: that of the scene or its variant, for the observation or the video profile."""
    import mujoco

    if not (video or variant):
        return simulation.model
    path = str(asset_path(f"{simulation.scene}.xml"))
    spec = variant_spec(simulation.scene) if variant else mujoco.MjSpec.from_file(path)
    if video:
        _improve_quality(spec, size)
    return spec.compile()


def _improve_quality(spec: mujoco.MjSpec, size: tuple[int, int]) -> None:
    """Draw at a higher quality, with a shadow resolution that fits pictures of `size`."""
    import mujoco

    quality = spec.visual.quality
    quality.shadowsize = min(1024, 1 << (2 * max(size) - 1).bit_length())  # their soft edges hide the pixels
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
