"""Identity of code: a digest of the source files of a module and of what it imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_OWN_PACKAGES = ("envs", "eval", "policies", "simscaleai")
_LIBRARY_FOLDERS = ("site-packages", "dist-packages")


def code_identity(module_name: str) -> str:
    """Return a SHA-256 digest of a module's file and of all files that it imports from its own package or folder.

    Imports are found by parsing the source, so the digest does not depend on the modules that the process has loaded.
    Installed libraries are left out. Packages of this project are left out if the module is not one of them.

    Args:
        module_name: Name of a module that has been imported.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_files(module_name).items()):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _files(module_name: str) -> dict[str, Path]:
    """Return the files of the module and of its imports from its own package or folder, by module name."""
    file = getattr(sys.modules[module_name], "__file__", None)
    if file is None:  # created at run time, or a package without a file
        return {}
    files = {module_name: Path(file).absolute()}
    root, is_own = _scope(module_name, files[module_name])
    waiting = [*_parents(module_name), *_imports(module_name, files[module_name])]
    while waiting:
        name = waiting.pop()
        path = _source(root, name) if name not in files and is_own(name.partition(".")[0]) else None
        if path is not None:
            files[name] = path
            waiting.extend(_imports(name, path))
    return files


def _scope(module_name: str, file: Path) -> tuple[Path, Callable[[str], bool]]:
    """Return the root folder of the module's imports, and a function that says whether a top-level name is its own."""
    top, *inner = module_name.split(".")
    if inner or file.name == "__init__.py":
        depth = len(inner) + (file.name == "__init__.py")
        return file.parents[depth], lambda name: name == top
    if file.parent.name in _LIBRARY_FOLDERS:
        return file.parent, lambda name: name == top
    return file.parent, lambda name: name not in _OWN_PACKAGES


def _source(root: Path, name: str) -> Path | None:
    """Return the file of the module `name` below `root`; None if no file exists."""
    place = root.joinpath(*name.split("."))
    choices = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((path for path in choices if path.is_file()), None)


def _parents(name: str) -> list[str]:
    """Return the module `name` and all packages above it. Importing `name` runs all of them."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _imports(name: str, path: Path) -> Iterator[str]:
    """Yield the name of each module that the source of the module `name` imports, with all packages above it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):  # not Python source, for example a compiled module
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute_name(node, package)
            for alias in node.names:
                yield from _parents(f"{base}.{alias.name}" if base else alias.name)


def _absolute_name(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute module name of `from … import`; "" for an import that would fail."""
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:
        return ""
