"""Checks that `envs`, `policies` and `simscaleai` are imported from the folder that holds this `eval`.

`python -m eval.rollout` puts the working directory first on the import path, and these names are generic. Without the
check, an unrelated folder `envs` there would be imported instead, and the error would appear far from its cause.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("envs", "policies", "simscaleai")


class ShadowedPackageError(ImportError):
    """A package of another origin hides a package of this project that has the same name."""


def shadowed(home: Path) -> dict[str, str]:
    """Return the packages that would be imported from elsewhere than the folder `home`, each with its location."""
    origins = {name: _location(find_spec(name)) for name in _PACKAGES}
    return {name: origin for name, origin in origins.items() if Path(origin).resolve() != (home / name).resolve()}


def check_neighbours() -> None:
    """Check that the packages that this `eval` needs come from its own parent folder.

    Raises:
        ShadowedPackageError: If a package comes from elsewhere; the message names the location.
        SystemExit: With code 2, after printing the same message, if a command of this project is being started.
    """
    home = Path(__file__).absolute().parent.parent  # not resolved: installers may make each file a link to elsewhere
    wrong = shadowed(home)
    if not wrong:
        return
    listing = ", ".join(f"{name!r} comes from {origin}" for name, origin in wrong.items())
    message = (
        f"expected the packages beside {home / 'eval'}, but {listing}; use `simscale` or another working directory"
    )
    if _is_command():
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)
    raise ShadowedPackageError(message)


def _location(spec: ModuleSpec | None) -> str:
    folders = list(spec.submodule_search_locations or [spec.origin or "?"]) if spec else ["nowhere"]
    return folders[0]


def _is_command() -> bool:
    # While `python -m eval.x` looks for eval.x, it imports eval with argv[0] set to "-m".
    return sys.argv[:1] == ["-m"] or Path(sys.argv[0]).stem == "simscale"
