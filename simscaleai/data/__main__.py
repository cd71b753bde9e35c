"""Looks into datasets and exchanges them with other formats.

python -m simscaleai.data info data/pick_place
python -m simscaleai.data export --format lerobot data/pick_place --output lerobot/pick_place
python -m simscaleai.data import --format lerobot lerobot/pick_place --output data/again
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from simscaleai.command_line import parse, say_mistake
from simscaleai.errors import SimScaleError

PROGRAM = "python -m simscaleai.data"


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a dataset holds: episodes, frames, features, what they mean and where they come from."""

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""

    def run(self) -> None:
        """Print it."""
        from simscaleai.data.info import dataset_text

        print(dataset_text(self.dataset))


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a dataset in another format: every array as it was, bit for bit."""

    source: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    output: Path
    """Folder to write, new or empty."""
    format: Literal["lerobot"] = "lerobot"
    """What to write: LeRobotDataset v3.0."""

    def run(self) -> None:
        """Write it."""
        from simscaleai.data.lerobot import export_lerobot

        export_lerobot(self.source, self.output)
        print(f"LeRobotDataset v3.0 in {self.output}")


@dataclass(frozen=True, kw_only=True)
class Import:
    """Make a dataset of one in another format, also of one that others made, to train on."""

    source: tyro.conf.Positional[Path]
    """Folder with the other dataset."""
    output: Path
    """Folder for the dataset, new or empty."""
    format: Literal["lerobot"] = "lerobot"
    """What to read: LeRobotDataset v3.0."""
    rename: tuple[str, ...] = ()
    """Features under other names than ours, as THEIRS=OURS, for example state=observation.state."""
    cameras: tuple[str, ...] | None = None
    """Cameras to take, X for observation.images.X; all unless given."""
    image_size: int | None = None
    """Scale images to this height and width [px]; needed if cameras differ, or if models shall see images that are not
    square."""

    def run(self) -> None:
        """Read it, and say what it leaves open."""
        from simscaleai.data.info import dataset_text
        from simscaleai.data.lerobot import ImportOptions, import_lerobot

        options = ImportOptions(
            rename=_pairs(self.rename),
            cameras=self.cameras,
            image_size=None if self.image_size is None else (self.image_size, self.image_size),
        )
        for gap in import_lerobot(self.source, self.output, options):
            print(f"note: {gap}")
        print(dataset_text(self.output))


def _pairs(items: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        theirs, separator, ours = item.partition("=")
        if not (theirs and separator and ours):
            raise SimScaleError(f"--rename takes THEIRS=OURS, for example state=observation.state, got {item!r}")
        pairs[theirs] = ours
    return pairs


_Command = (
    Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Import, tyro.conf.subcommand("import")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code: 0 done, 2 wrong usage, 130 interrupted."""
    try:
        command: Info | Export | Import = parse(_Command, PROGRAM, arguments, __doc__)
        command.run()
    except (SimScaleError, OSError) as error:
        say_mistake(error)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
