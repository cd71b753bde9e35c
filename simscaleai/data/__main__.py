"""Shows what a dataset holds, checks it, and converts datasets to and from other formats.

python -m simscaleai.data info data/pick_place
python -m simscaleai.data check data/pick_place
python -m simscaleai.data export --format lerobot data/pick_place --output lerobot/pick_place
python -m simscaleai.data import --format lerobot lerobot/pick_place --output data/again
python -m simscaleai.data export --format robomimic data/pick_place --output robomimic/pick_place
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from simscaleai.command_line import exit_code, parse, raise_at_interrupt
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    from simscaleai.data.exchange.foreign import ImportOptions

Format = Literal["lerobot", "minari", "robomimic"]
_TITLES: dict[Format, str] = {
    "lerobot": "LeRobotDataset v3.0",
    "minari": "Minari dataset",
    "robomimic": "robomimic HDF5",
}

PROGRAM = "python -m simscaleai.data"


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a dataset holds: episodes, frames, arrays with their meaning, and how the data was made."""

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""

    def run(self) -> int:
        """Print the table."""
        from simscaleai.data.info import dataset_text

        print(dataset_text(self.dataset))
        return 0


@dataclass(frozen=True, kw_only=True)
class Check:
    """Check digests, tasks, times, values and images of a dataset. The exit code is 1 if something is wrong."""

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""

    def run(self) -> int:
        """Print what was checked and found."""
        from simscaleai.data.check import check_dataset, findings_text

        findings = check_dataset(self.dataset)
        print(findings_text(findings))
        return int(any(finding.is_wrong for finding in findings))


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a dataset in another format. All arrays that are written keep their values, bit for bit."""

    source: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    output: Path
    """Folder to write, new or empty."""
    format: Format = "lerobot"
    """Format to write: LeRobotDataset v3.0, Minari, or one HDF5 file for robomimic."""
    privileged: bool = False
    """Also write simulator truth, such as object poses. In a LeRobotDataset, environment_state becomes
    privileged.environment_state, which no trainer takes for an input."""

    def run(self) -> int:
        """Write the dataset in the other format."""
        raise_at_interrupt()
        for note in self._convert():
            print(f"note: {note}")
        print(f"{_TITLES[self.format]} in {self.output}")
        return 0

    def _convert(self) -> list[str]:
        if self.format == "robomimic":
            from simscaleai.data.robomimic import export_robomimic

            return export_robomimic(self.source, self.output, privileged=self.privileged)
        if self.format == "minari":
            from simscaleai.data.minari import export_minari

            return export_minari(self.source, self.output, privileged=self.privileged)
        from simscaleai.data.lerobot import export_lerobot

        export_lerobot(self.source, self.output, privileged=self.privileged)
        return []


@dataclass(frozen=True, kw_only=True)
class Import:
    """Convert a dataset from another format, possibly of another project, so that policies can be trained on it."""

    source: tyro.conf.Positional[Path]
    """Folder of the dataset in the other format, or the HDF5 file of robomimic."""
    output: Path
    """Folder for the dataset, new or empty."""
    format: Format = "lerobot"
    """Format to read: LeRobotDataset v3.0 or v2.1, Minari, or HDF5 of robomimic."""
    rename: tuple[str, ...] = ()
    """Features to rename, as SOURCE=NEW, for example state=observation.state. Vectors with one new name are joined, in
    the order given here. Parts such as observation.state.arm and observation.state.gripper are joined without it."""
    cameras: tuple[str, ...] | None = None
    """Cameras to take, X for observation.images.X; all by default."""
    image_size: int | None = None
    """Height and width to scale images to [px]. It is required if the cameras differ in size, or if images are not
    square, because models take square images."""
    control_hz: int | None = None
    """Steps per second, for data of Minari, and for files of robomimic that do not say it."""

    def run(self) -> int:
        """Write and check the dataset, and print notes about facts that the source lacks."""
        from simscaleai.data.exchange.foreign import ImportOptions
        from simscaleai.data.info import dataset_text

        raise_at_interrupt()
        options = ImportOptions(
            rename=_pairs(self.rename),
            cameras=self.cameras,
            image_size=None if self.image_size is None else (self.image_size, self.image_size),
        )
        for note in self._convert(options):
            print(f"note: {note}")
        print(dataset_text(self.output))
        return Check(dataset=self.output).run()

    def _convert(self, options: ImportOptions) -> list[str]:
        if self.format == "robomimic":
            from simscaleai.data.robomimic import import_robomimic

            return import_robomimic(self.source, self.output, options, self.control_hz)
        if self.format == "minari":
            from simscaleai.data.minari import import_minari

            return import_minari(self.source, self.output, options, self.control_hz)
        from simscaleai.data.lerobot import import_lerobot

        if self.control_hz is not None:
            raise SimScaleError("a LeRobotDataset says its steps per second; leave out --control-hz")
        return import_lerobot(self.source, self.output, options)


def _pairs(items: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        source, separator, new = item.partition("=")
        if not (source and separator and new):
            raise SimScaleError(f"--rename takes SOURCE=NEW, for example state=observation.state, got {item!r}")
        pairs[source] = new
    return pairs


_Command = (
    Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Import, tyro.conf.subcommand("import")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code.

    It is 0 if all is done, 1 if a checked or imported dataset has a fault, 2 for wrong usage, 130 if interrupted.
    """

    def work() -> int:
        command: Info | Check | Export | Import = parse(
            _Command, PROGRAM, arguments, (__doc__ or "").partition("\n")[0]
        )
        return command.run()

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
