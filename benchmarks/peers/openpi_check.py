"""Release check: the real `openpi-client` gets from our server what the policy gives in process.

With the seeded extension, the digest of every episode must be that of the run in process. Without it, the server draws
the seeds, and the intervals of the success rates must overlap. The client lives in an environment of its own, since it
needs numpy < 2, and passes on what our process, which steps the environment, hands to it.

python3.11 -m venv openpi && openpi/bin/pip install openpi-client==0.1.2 typing-extensions
python -m benchmarks.peers.openpi_check --client openpi/bin/python --output benchmarks/results/openpi_client.csv
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes.serving_speed import server
from benchmarks.tables import write_csv
from envs.registration import find_environment
from eval.episodes.plan import plan_episodes
from eval.episodes.results import EpisodeResult
from eval.execution.assembly import build_environment
from eval.rollout import rollout
from eval.statistics.rates import wilson
from policies.base import Chunks, Needs, Observation, Policy, Slots
from policies.registry import make_policy
from simscaleai.hosting.process import HostProcess

RELAY = Path(__file__).with_name("openpi_relay.py")
SLOTS = 8


class RelayedPolicy(Policy):
    """Asks the server through real openpi clients, one for each slot."""

    def __init__(self, relay: HostProcess, port: int, *, seeded: bool) -> None:
        """Connect the clients; `seeded` says whether requests have the seeded extension."""
        self._relay, self._seeded = relay, seeded
        answer, _ = relay.call("connect", port=port, clients=list(range(SLOTS)))
        told = answer["metadata"]["simscale"]
        self.needs, self.identity, self.options = Needs.from_json(told["needs"]), told["identity"], told["options"]
        self._episodes: dict[int, tuple[int, str]] = {}
        self._calls: dict[int, int] = {}

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Begin an episode in each of `slots`."""
        for slot, seed, instruction in zip(slots.tolist(), seeds, instructions, strict=True):
            self._episodes[slot], self._calls[slot] = (seed, instruction), 0

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the chunks that the server gives."""
        entries = [self._entries(slot) for slot in slots.tolist()]
        _, arrays = self._relay.call("infer", observation, clients=slots.tolist(), entries=entries)
        return arrays["actions"]

    def _entries(self, slot: int) -> dict[str, object]:
        seed, instruction = self._episodes[slot]
        call, self._calls[slot] = self._calls[slot], self._calls[slot] + 1
        known = {"episode": f"slot {slot} of {id(self)}", "seed": seed, "call": call}
        return {"prompt": instruction, **({"simscale": known} if self._seeded else {})}


def run(policy: Policy, env_name: str, episodes: int) -> tuple[list[EpisodeResult], float]:
    """Return the results of the episodes, and how long they took [s]."""
    env = build_environment(find_environment(env_name), [policy.needs], num_slots=SLOTS)
    begin = time.perf_counter()
    results = rollout(env, policy, plan_episodes(episodes))
    seconds = time.perf_counter() - begin
    env.close()
    return results, seconds


def rows_of(model: str, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Return the rows of the table for one policy: in process, and with both kinds of clients."""
    spec = find_environment(arguments.env).offer()
    ways = {"in process": run(make_policy(model, spec=spec), arguments.env, arguments.episodes)}
    with server(model) as (port, _):
        for way, seeded in (("openpi-client, seeded", True), ("openpi-client, plain", False)):
            relay = HostProcess(arguments.client, RELAY)
            ways[way] = run(RelayedPolicy(relay, port, seeded=seeded), arguments.env, arguments.episodes)
            relay.close()
    first, _ = ways["in process"]
    named = {"policy": model, "environment": arguments.env}
    return [{**named, "way": way, **_figures(results, first, seconds)} for way, (results, seconds) in ways.items()]


def main() -> int:
    """Run the check and return 0 if it holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=("vla-robust", "vla-pick-place-diffusion"))
    parser.add_argument("--env", default="pick-place")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    tables = [rows_of(model, arguments) for model in arguments.models]
    rows = [row for table in tables for row in table]
    for row in rows:
        print(row)
    if arguments.output:
        write_csv(arguments.output, rows)
    return 0 if all(map(_holds, tables)) else 1


def _figures(results: list[EpisodeResult], first: list[EpisodeResult], seconds: float) -> dict[str, object]:
    successes = sum(result.status == "success" for result in results)
    interval = wilson(successes, len(results))
    return {
        "episodes": len(results),
        "successes": successes,
        "low_95": f"{interval.low:.4f}",
        "high_95": f"{interval.high:.4f}",
        "equal_digests": sum(one.digest == other.digest for one, other in zip(first, results, strict=True)),
        "seconds": f"{seconds:.1f}",
    }


def _holds(rows: list[dict[str, object]]) -> bool:
    in_process, seeded, plain = rows
    overlap = float(str(plain["low_95"])) <= float(str(in_process["high_95"])) and float(
        str(in_process["low_95"])
    ) <= float(str(plain["high_95"]))
    return seeded["equal_digests"] == seeded["episodes"] and overlap


if __name__ == "__main__":
    sys.exit(main())
