"""Reads HDF5 files of unknown origin: nothing outside the file, and nothing larger than what the file holds."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_MOST_FOLD = 2000  # no filter of HDF5 makes numbers smaller by more than about 1000
_SLACK = 2**20  # bytes


def child(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """Return the group or dataset at `path` below `group`.

    Raises:
        ValueError: If there is none, or a link on the way is not part of the file.
    """
    for name in path.split("/"):
        link = name.encode(errors="surrogateescape")
        if not isinstance(group, h5py.Group) or not group.id.links.exists(link):
            raise ValueError(f"there is no {path!r}")
        if group.id.links.get_info(link).type != h5py.h5l.TYPE_HARD:  # h5py's own `in` and `get` would follow it
            raise ValueError(f"{path!r} is a link to another place")
        group = group[name]
    return group


def dataset(group: h5py.Group, path: str) -> h5py.Dataset:
    """Return the dataset at `path` below `group`, after a check that all its values lie in the file.

    Raises:
        ValueError: If there is none, or its values lie elsewhere or nowhere.
    """
    found = child(group, path)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{path!r} is a group, expected numbers")
    if found.is_virtual or found.external:
        raise ValueError(f"the values of {path!r} lie in another file")
    if found.nbytes > _MOST_FOLD * found.id.get_storage_size() + _SLACK:
        raise ValueError(f"{path!r} claims {found.nbytes} bytes, which the file does not hold")
    return found


def check_all(group: h5py.Group) -> None:
    """Check that everything below `group` lies in the file, for a reader of others that would follow any link.

    Raises:
        ValueError: If a link leads elsewhere, a group stands in several places, so that a reader would meet it again
            and again, or the values of a dataset lie elsewhere or nowhere.
    """
    pending, seen = [group], {h5py.h5o.get_info(group.id).addr}
    while pending:
        group = pending.pop()
        for name in group:
            found = child(group, name)
            if not isinstance(found, h5py.Group):
                dataset(group, name)
                continue
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:
                raise ValueError(f"the group {name!r} stands in several places")
            seen.add(address)
            pending.append(found)


def numbers(group: h5py.Group, path: str, length: int) -> NDArray[Any]:
    """Return the numbers at `path` below `group`, whose first dimension must be `length`.

    Raises:
        ValueError: If there are none, or another number of them.
    """
    found = dataset(group, path)
    if found.dtype.kind not in "fiub" or not found.shape or found.shape[0] != length:
        raise ValueError(f"expected numbers of {length} steps at {path!r}, got {found.dtype} {found.shape}")
    return np.asarray(found[()])
