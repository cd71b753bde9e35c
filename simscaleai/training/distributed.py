"""Data-parallel training: several processes, started by a launcher, train one model together.

    torchrun --nproc-per-node 4 -m simscaleai.train --model vla --device cuda ...

Each process takes its rows of every batch, and torch's DistributedDataParallel averages the gradients. `--batch-size`
is the number of rows of all processes together. The first process validates, reports and writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from simscaleai.errors import SimScaleError


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one training, seen from one of them."""

    rank: int
    """Number of this process, from 0."""
    world_size: int
    """Number of processes."""

    @property
    def is_first(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    def own_rows(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the rows of a batch that this process takes, shape (B / world_size,), from all `rows` (B,)."""
        return rows[self.rank :: self.world_size]

    def stream_position(self, step: int) -> int:
        """Return a position in a stream of random numbers that belongs to this process and `step` alone."""
        return step * self.world_size + self.rank

    def averaging(self, module: nn.Module) -> nn.Module:
        """Return `module`, wrapped so that each backward pass averages the gradients of all processes."""
        # Some models leave weights unused, for example the embedding that replaces a missing image.
        return module if self.world_size == 1 else DistributedDataParallel(module, find_unused_parameters=True)

    def flag_of_first(self, flag: bool) -> bool:
        """Return the `flag` that the first process passed to this method. All processes must call it."""
        if self.world_size == 1:
            return flag
        flags = [flag]
        distributed.broadcast_object_list(flags)
        return flags[0]


def is_first_process() -> bool:
    """Return whether this process is the only one, or the first that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined_processes(device: torch.device, batch_size: int) -> Iterator[ProcessGroup]:
    """Join the processes that a launcher started. Without a launcher, the group has one process.

    Args:
        device: Device of this process.
        batch_size: Rows of a batch, of all processes together.

    Raises:
        SimScaleError: If the processes cannot take equal numbers of rows.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield ProcessGroup(0, 1)
        return
    if batch_size % world_size:
        raise SimScaleError(f"--batch-size {batch_size} cannot be shared by {world_size} processes; give a multiple")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(distributed.get_rank(), world_size)
    finally:
        distributed.destroy_process_group()


def device_of_process(name: str) -> str:
    """Return the device of this process. With several processes on one machine, "cuda" means one GPU for each."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and "LOCAL_RANK" in os.environ else name
