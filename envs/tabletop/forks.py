"""Objects that a forked process inherits but cannot use: physics with several threads, and GL contexts.

A forked process has the memory of its parent, but not its threads. A native call that waits for them hangs. So such a
process must neither use these objects nor destroy them, not even when it exits.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref

SPAWN = (
    'make the environment in a process that was spawned, not forked (multiprocessing: the context "spawn"; Gymnasium: '
    'gym.make_vec(..., vectorization_mode="async", vector_kwargs={"context": "spawn"}))'
)
"""What to do about an environment that does not work after a fork."""

_OWNERS: weakref.WeakSet[object] = weakref.WeakSet()


def never_destroy_in_forked_processes(owner: object) -> None:
    """Keep `owner`, and with it the native objects that it holds, for ever in processes that are forked from now on."""
    _OWNERS.add(owner)


def _keep_owners() -> None:
    for owner in list(_OWNERS):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
    if egl := sys.modules.get("mujoco.egl"):
        egl.EGL_DISPLAY = None  # type: ignore[attr-defined]  # closing it at exit would wait for threads, too


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_owners)
