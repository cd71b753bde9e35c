"""A policy server with the extension for seeds, for tests of runs: it serves `Noisy`, one instance per episode.

    python seeded_server.py PORT REQUESTS

After REQUESTS requests it kills itself as nothing can catch it; 0 for never.
"""

import os
import signal
import sys
from threading import Lock

import numpy as np

from envs import find_environment

SPEC = find_environment("reach").offer()


class Noisy:
    """Moves to the goal with noise from the seed of the episode; its chunks have two actions."""

    def reset(self, seed, instruction):
        self.rng, self.calls = np.random.default_rng(seed), 0

    def act(self, observation):
        self.calls += 1
        layout, state = SPEC.vectors["state"], observation["state"]
        way = layout.get(state, "goal_position") - layout.get(state, "ee_position")
        action = np.append(way / 0.025, self.calls % 2) + self.rng.normal(scale=0.3, size=4)
        return np.tile(np.clip(action, -1, 1), (2, 1)).astype(np.float32)


Noisy.needs = {"state": None}


def main(port, most_requests):
    from websockets.sync.server import serve

    from policies.foreign.openpi.announcement import EXTENSION, UNKNOWN_EPISODE, Announcement
    from policies.foreign.openpi.codec import pack, unpack

    episodes, lock, count = {}, Lock(), [0]

    def reply(request):
        name, seed, call = (request[EXTENSION][key] for key in ("episode", "seed", "call"))
        if call == 0 and name not in episodes:
            agent = Noisy()
            agent.reset(seed, "")
            episodes[name] = (agent, {})
        if name not in episodes:
            return UNKNOWN_EPISODE
        agent, replies = episodes[name]
        if call not in replies:
            replies[call] = {"actions": agent.act(request)}
        return replies[call]

    def handle(connection):
        announced = Announcement(identity="noisy", needs=SPEC.needs("state"), action=SPEC.action)
        connection.send(pack({EXTENSION: announced.to_json()}))
        for frame in connection:
            with lock:
                count[0] += 1
                if count[0] == most_requests:
                    os.kill(os.getpid(), signal.SIGKILL)
                connection.send(pack(reply(unpack(frame))))

    with serve(handle, "127.0.0.1", port, compression=None, max_size=None) as server:
        print(server.socket.getsockname()[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
