"""Lists what `--model` can name, or installs a library whose policies run in an interpreter of their own.

python -m policies
python -m policies install lerobot
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from policies.catalogue import CheckpointEntry, Measurement, checkpoint_entries
from policies.foreign.openpi.adapter import adapter_names, read_adapter
from policies.install import InstallConfig, install_library, libraries
from policies.registry import BUILT_IN, ENTRY_POINTS
from simscaleai.command_line import exit_code, parse, printable, raise_at_interrupt
from simscaleai.extensions.entry_points import entry_point_names
from simscaleai.models.presets import list_presets
from simscaleai.models.registry import list_models

_PROGRAM = "python -m policies"

Row = tuple[str, str]
"""A name and its description."""


@dataclass(frozen=True)
class ListConfig:
    """List what --model can name. `python -m policies install NAME` installs a library."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code: 2 for a user's mistake, 130 after Ctrl-C."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["install"]:
        return exit_code(lambda: _install(words[1:]), "interrupted; nothing half-installed is left")
    return exit_code(lambda: _list(words))


def _list(words: Sequence[str]) -> int:
    parse(ListConfig, _PROGRAM, words)
    print("\n".join(map(printable, _listing(checkpoint_entries()).split("\n"))))
    return 0


def _install(words: Sequence[str]) -> int:
    named = ["--name", *words] if words and not words[0].startswith("-") else words
    config: InstallConfig = parse(InstallConfig, f"{_PROGRAM} install", named)
    raise_at_interrupt()
    rows = install_library(config.name, config.python, lambda text: print(printable(text), flush=True))
    print("\n".join(printable(f"{heading:<10}{text}") for heading, text in rows))
    return 0


def _listing(checkpoints: Sequence[CheckpointEntry]) -> str:
    presets = {"vla": f"; presets {', '.join(list_presets())}"}
    sections: dict[str, list[Row]] = {
        "models, to train": [
            (name, f"python -m simscaleai.train --model {name}{presets.get(name, '')}") for name in list_models()
        ],
        "shipped checkpoints; --model bc or vla picks the first that serves --env": [
            row for checkpoint in checkpoints for row in _checkpoint_rows(checkpoint)
        ],
        "policies without weights": [(name, _purpose(name)) for name in BUILT_IN],
        "policies of other packages": list(entry_point_names(ENTRY_POINTS).items()),
        "policies of other libraries, in an interpreter of their own": list(libraries()),
        "adapters, for --model ws://HOST:PORT --adapter NAME": [
            (name, read_adapter(name).summary) for name in adapter_names()
        ],
    }
    width = max(len(name) for rows in sections.values() for name, _ in rows)
    lines = []
    for title, rows in sections.items():
        if not rows:
            continue
        lines += [title, *(f"  {name:<{width}}  {text}" for name, text in rows), ""]
    return "\n".join(
        [
            *lines,
            "--model also takes a checkpoint folder, your own module:attribute or file.py:attribute, or ws://HOST:PORT.",
        ]
    )


def _checkpoint_rows(checkpoint: CheckpointEntry) -> Iterable[Row]:
    chunk = ""
    if checkpoint.action_horizon > 1:
        chunk = f"; executes {checkpoint.n_action_steps} of {checkpoint.action_horizon} actions"
    yield checkpoint.name, f"{checkpoint.model}, {checkpoint.parameters:,} parameters; {_observed(checkpoint)}{chunk}"
    for env_id, measured in checkpoint.measured.items():
        yield "", f"{env_id}: {_measured_text(measured)}"


def _observed(checkpoint: CheckpointEntry) -> str:
    parts = list(checkpoint.needs.vectors)
    for height, width in set(checkpoint.needs.cameras.values()):
        cameras = [camera for camera, size in checkpoint.needs.cameras.items() if size == (height, width)]
        parts.append(f"{' and '.join(cameras)} images {height}x{width}")
    if checkpoint.needs.instruction:
        parts.append("instruction")
    return f"sees {', '.join(parts)}"


def _measured_text(measured: Measurement | None) -> str:
    if measured is None:
        return "not measured"
    n, (low, high) = measured.episodes, measured.interval
    share = f"{100 * measured.successes / n:.1f} %, 95 % interval [{100 * low:.1f}, {100 * high:.1f}] (Wilson)"
    return f"{measured.successes}/{n} succeeded, {share}, {measured.date}"


def _purpose(name: str) -> str:
    """Return what a policy without weights does, and in which environments."""
    from policies.scripted.experts import EXPERTS, PUSHERS

    purposes: dict[str, tuple[str, Iterable[str]]] = {
        "scripted": ("expert that reads object poses", EXPERTS),
        "pusher": ("control that pushes the cube, which must not count as success", PUSHERS),
        "random": ("uniform actions", ()),
        "zero": ("sends zeros", ()),
    }
    purpose, environments = purposes.get(name, ("", ()))
    return f"{purpose}; {', '.join(environments) or 'every environment'}"


if __name__ == "__main__":
    sys.exit(main())
