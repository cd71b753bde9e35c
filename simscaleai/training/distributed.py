"""Several processes that train one model together, started by a launcher.

    torchrun --nproc-per-node 4 -m simscaleai.train --model vla --device cuda ...

Each process takes its share of every batch, and torch's DistributedDataParallel averages the gradients, so
`--batch-size` is that of all processes together. The first process validates, reports and writes.
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
class Processes:
    """The processes of one training, seen from one of them."""

    rank: int
    """Number of this one, from 0."""
    world_size: int
    """How many there are."""

    @property
    def is_first(self) -> bool:
        """Whether this one reports and writes."""
        return self.rank == 0

    def share(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return this process's part of a batch's `rows`, (B,) to (B / world_size,)."""
        return rows[self.rank :: self.world_size]

    def position(self, step: int) -> int:
        """Return a place in a stream of random numbers that no other process and step has."""
        return step * self.world_size + self.rank

    def averaging(self, module: nn.Module) -> nn.Module:
        """Return `module` such that each backward pass averages the gradients of all processes."""
        # Some models leave weights unused, for example the embedding that stands for a missing image.
        return module if self.world_size == 1 else DistributedDataParallel(module, find_unused_parameters=True)

    def first_says(self, flag: bool) -> bool:
        """Return the first process's `flag`, in all of them."""
        if self.world_size == 1:
            return flag
        said = [flag]
        distributed.broadcast_object_list(said)
        return said[0]


def is_first_process() -> bool:
    """Return whether this process is the only one, or the first that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined_processes(device: torch.device, batch_size: int) -> Iterator[Processes]:
    """Join the processes that a launcher started; without one this process is alone.

    Args:
        device: Where this process computes.
        batch_size: Rows of a batch, of all processes together.

    Raises:
        SimScaleError: If the batch cannot be shared out evenly.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Processes(0, 1)
        return
    if batch_size % world_size:
        raise SimScaleError(f"--batch-size {batch_size} cannot be shared by {world_size} processes; give a multiple")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), world_size)
    finally:
        distributed.destroy_process_group()


def own_device(name: str) -> str:
    """Return the device of this process: with several on one machine, "cuda" means one for each."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and "LOCAL_RANK" in os.environ else name
