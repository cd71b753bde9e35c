"""The one place that knows what reading somebody else's files can raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simscaleai.data.episode_file import DatasetError
from simscaleai.files import WriteError
from simscaleai.json_data import damage_text


@contextmanager
def reading(path: Path, where: str = "") -> Iterator[None]:
    """Turn whatever goes wrong in the `with` block into one line that names the damaged file.

    No list of exceptions would be complete: Parquet, PNG and video files can raise dozens of kinds, JSON data of
    another structure a few more.

    Args:
        path: What is read, for the message.
        where: The part of it, for the message.

    Raises:
        DatasetError: If anything is raised in the block. A `DatasetError` or `WriteError` passes unchanged.
    """
    try:
        yield
    except (DatasetError, WriteError):
        raise
    except Exception as error:
        place = f"{path} is damaged at {where}" if where else f"{path} is damaged"
        raise DatasetError(f"{place}: {damage_text(error)}; copy or export it again") from error
