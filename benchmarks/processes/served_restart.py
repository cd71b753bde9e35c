"""Release check: killing the policy server in mid-run (signal 9) changes no byte of a run.

Twice the server is killed after some episodes. The first time it is started again at once, and the run goes on. The
second time it stays away until the run has ended with errors; then it is started, and the run is resumed. Both times
`episodes.jsonl` must have the bytes of a run whose policy acts in process.

python -m benchmarks.processes.served_restart --output benchmarks/results/served_restart.csv
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.our_runs import our_command, wait_for_episodes
from benchmarks.tables import write_csv


class Server:
    """A policy server that can be killed and started again at the same port."""

    def __init__(self, model: str) -> None:
        """Start it at a free port."""
        self._model, self.port = model, 0
        self.start()

    def start(self) -> None:
        """Start the server and wait until it listens."""
        command = [sys.executable, "-m", "policies.serve", "--model", self._model, "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        first = self._process.stdout.readline() if self._process.stdout else ""
        self.port = int(re.findall(r"ws://127\.0\.0\.1:(\d+)", first)[0])

    def kill(self) -> None:
        """Kill the server with a signal that it cannot catch."""
        self._process.kill()
        self._process.communicate()


def rollout(model: str, arguments: argparse.Namespace, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a run."""
    words = ["--model", model, "--env", arguments.env, "--episodes", str(arguments.episodes), "--num-envs", "8"]
    command = our_command(*words, "--output", folder, *more)
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)  # one line for each error


def goes_on(server: Server, arguments: argparse.Namespace, folder: Path) -> tuple[int, list[int]]:
    """Kill the server and start it again at once; return the episodes before that, and the exit code of the run."""
    process = rollout(f"ws://127.0.0.1:{server.port}", arguments, folder)
    before = wait_for_episodes(folder, arguments.episodes // 4, process)
    server.kill()
    server.start()
    return before, [process.wait()]


def resumes(server: Server, arguments: argparse.Namespace, folder: Path) -> tuple[int, list[int]]:
    """Kill the server, let the run end, start the server and resume; return the episodes before, and the exit codes."""
    process = rollout(f"ws://127.0.0.1:{server.port}", arguments, folder)
    before = wait_for_episodes(folder, arguments.episodes // 4, process)
    server.kill()
    codes = [process.wait()]
    server.start()
    codes.append(rollout(f"ws://127.0.0.1:{server.port}", arguments, folder, "--resume").wait())
    return before, codes


def main() -> int:
    """Run the check and return 0 if it holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="vla-robust")
    parser.add_argument("--env", default="pick-place")
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        if rollout(arguments.model, arguments, Path(place) / "in-process").wait():
            return 1
        expected = (Path(place) / "in-process/episodes.jsonl").read_bytes()
        server = Server(arguments.model)
        for name, case in {"started again at once": goes_on, "started again for --resume": resumes}.items():
            folder = Path(place) / name.replace(" ", "-")
            before, codes = case(server, arguments, folder)
            same = (folder / "episodes.jsonl").read_bytes() == expected
            rows.append({"policy": arguments.model, "server": f"killed, {name}", "episodes": arguments.episodes})
            rows[-1] |= {"before_the_kill": before, "exit_codes": " ".join(map(str, codes)), "same_bytes": same}
            print(rows[-1])
        server.kill()
    if arguments.output:
        write_csv(arguments.output, rows)
    return 0 if all(row["same_bytes"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
