"""A policy server with the extension for seeds, for tests of runs: it serves `Noisy`, one instance per episode.

    python seeded_server.py PORT REQUESTS END

From request number REQUESTS on, 0 for never, it misbehaves as END says: "kill" (itself, which nothing can catch),
"hang", "error" (a traceback as text) or "nan" (an action that is not finite).
"""

import os
import signal
import sys
import time
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


def misbehave(end, connection, answer):
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif end == "hang":
        time.sleep(1000)
    elif end == "error":
        connection.send("Traceback\nKeyError: 'prompt'")
        connection.close(1011)
    elif end == "nan" and "actions" in answer:
        answer["actions"] = np.full((2, 4), np.nan, np.float32)


def main(port, most_requests, end):
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
                answer = reply(unpack(frame))
                if most_requests and count[0] >= most_requests:
                    misbehave(end, connection, answer)
                connection.send(pack(answer))

    with serve(handle, "127.0.0.1", port, compression=None, max_size=None) as server:
        print(server.socket.getsockname()[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
