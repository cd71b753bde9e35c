"""Where the workers of a run find room in a Ray cluster: anywhere, or one worker on each machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from policies.learned.devices import Device


@dataclass(frozen=True)
class Place:
    """Room for one worker."""

    cpus: int = 1
    """Number of CPUs of the cluster that the worker gets."""
    machine: str | None = None
    """Id of the only machine that may run the worker; None if any may."""

    def options(self, device: Device | None) -> dict[str, Any]:
        """Return the options of Ray for the actor. On a machine of its own, it gets a GPU if `device` is one."""
        if self.machine is None:
            return {"num_cpus": self.cpus}
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(node_id=self.machine, soft=False)
        return {"num_cpus": self.cpus, "num_gpus": int(device == "cuda"), "scheduling_strategy": strategy}


def places_anywhere(cpus: int) -> Iterator[Place]:
    """Yield a place for each of `cpus` CPUs. Ray finds the machines."""
    return (Place() for _ in range(cpus))


def places_on_machines(ray: Any, cpus: int, taken: Collection[str | None]) -> Iterator[Place]:
    """Yield a place on each machine of the cluster that is not `taken`, with all its CPUs, at most `cpus` together."""
    for node in ray.nodes():
        has = min(int(node["Resources"].get("CPU", 0)), cpus)
        if has > 0 and node["Alive"] and node["NodeID"] not in taken:
            cpus -= has
            yield Place(has, node["NodeID"])
