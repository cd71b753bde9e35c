"""What an importer must say about data of another project, so that `ForeignDataset` can read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from simscaleai.contract import ImageSize


@dataclass(frozen=True, kw_only=True)
class SourceFeature:
    """One array of every episode of the source. Shapes are not described: the data show them."""

    dtype: str
    """ "image", "video", or NumPy's name of a type."""
    names: Any = None
    """Names of the entries: a list, or a dictionary of lists."""
    is_depth_map: bool = False
    """Whether the images hold distances, possibly in the codes of a colour image."""


class SourceEpisode(Protocol):
    """Consecutive frames with one task: an episode of the source, or a part of one."""

    @property
    def index(self) -> int:
        """Number among the episodes to import."""

    @property
    def source_index(self) -> int:
        """Number of the episode in the source."""

    @property
    def first_frame(self) -> int:
        """Number of the first frame in the episode of the source."""

    @property
    def length(self) -> int:
        """Number of frames."""

    @property
    def task(self) -> str:
        """The instruction; "" if there is none."""


E = TypeVar("E", bound=SourceEpisode)


class Source(Protocol[E]):
    """An opened dataset of another project. Its features have LeRobot's names, such as observation.state."""

    @property
    def format(self) -> str:
        """Name of the format."""

    @property
    def folder(self) -> Path:
        """Folder or file of the dataset, for messages."""

    @property
    def fps(self) -> int:
        """Frames per second."""

    @property
    def robot_type(self) -> str | None:
        """Type of the robot or of the environment; None if the source does not say it."""

    @property
    def features(self) -> Mapping[str, SourceFeature]:
        """What the source says about each feature."""

    @property
    def counters(self) -> frozenset[str]:
        """Features that only number the frames. They are left out without a note."""

    @property
    def episodes(self) -> Sequence[E]:
        """The episodes in the order of their index, at least one."""

    def read(self, episode: E, key: str, *, image_size: ImageSize | None = None) -> NDArray[Any]:
        """Return feature `key` of `episode`, images scaled to `image_size`. The first dimension is time."""

    def image_size(self, key: str) -> ImageSize:
        """Return the height and width of the first image of feature `key`."""

    def irregular_steps(self) -> int:
        """Return how many steps are longer or shorter than the others by more than half."""
