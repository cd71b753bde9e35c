"""Chooses how MuJoCo draws on a machine without a display."""

from __future__ import annotations

import ctypes.util
import os
import sys


def choose_gl_backend() -> None:
    """Set MUJOCO_GL to EGL, or else OSMesa, on a Linux machine without a display. `mujoco` reads it when imported."""
    if "MUJOCO_GL" in os.environ or not sys.platform.startswith("linux") or os.environ.get("DISPLAY"):
        return
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = backend
            return
