"""A server in a thread, clients for it, and a policy whose actions show every mix-up."""

import asyncio
import threading
from contextlib import ExitStack, contextmanager
from types import MappingProxyType, SimpleNamespace

import numpy as np

from policies.base import Feature, Layout, Needs, Policy
from policies.foreign.openpi.codec import pack, unpack
from simscaleai.contract import ActionSpec

ACTION = ActionSpec(names=("x", "y"), low=(-1.0, -1.0), high=(1.0, 1.0), meaning="displacement")
STATE = Layout((Feature("position", 3, "m", "world"),))


class Walker(Policy):
    """Acts by the state, the words, the number of its predictions and a random stream of the episode."""

    needs = Needs(vectors={"state": STATE}, cameras={"front": (4, 5)}, instruction=True)
    identity = "walker"
    options = MappingProxyType({"n_action_steps": 2})

    def __init__(self):
        self.memory = {}
        self.batches = []
        self.threads = set()

    def reset(self, slots, seeds, instructions):
        self.threads.add(threading.get_ident())
        for slot, seed, words in zip(slots.tolist(), seeds, instructions, strict=True):
            self.memory[slot] = (np.random.default_rng(seed), words)

    def predict(self, observation, slots):
        self.threads.add(threading.get_ident())
        self.batches.append(len(slots))
        chunks = []
        for row, slot in enumerate(slots.tolist()):
            rng, words = self.memory[slot]
            seen = observation["state"][row].sum() + observation["front"][row].mean() + len(words)
            chunks.append(rng.normal(size=(3, 2)) + seen)
        return np.array(chunks, dtype=np.float32)


def observation(number, prompt="go"):
    """Return an observation of `Walker`."""
    rng = np.random.default_rng(number)
    front = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return {"state": rng.normal(size=3).astype(np.float32), "front": front, "prompt": prompt}


def seeded(episode, seed, call, number=None, prompt="go"):
    """Return a request of the seeded extension."""
    known = {"episode": episode, "seed": seed, "call": call}
    return {**observation(call if number is None else number, prompt), "simscale": known}


def in_process(seed, calls, prompt="go"):
    """Return the actions that `Walker` gives in process to the observations 0, 1, … of one episode."""
    policy, slots, answers = Walker(), np.array([5]), []
    policy.reset(slots, [seed], [prompt])
    for number in range(calls):
        seen = observation(number)
        rows = {key: seen[key][None] for key in ("state", "front")}
        answers.append(policy.predict(rows, slots)[0])
    return answers


class Client:
    """A client of the library that openpi's own client uses, too."""

    def __init__(self, port, **options):
        from websockets.sync.client import connect

        self._opened = ExitStack()
        address = f"ws://127.0.0.1:{port}"
        self.connection = self._opened.enter_context(connect(address, compression=None, max_size=None, **options))
        self.metadata = unpack(self.connection.recv())

    def ask(self, request):
        """Send a request; return the reply, a text for a text frame."""
        self.connection.send(pack(request))
        reply = self.connection.recv(timeout=60)
        return reply if isinstance(reply, str) else unpack(reply)

    def close(self):
        self._opened.close()


@contextmanager
def serving(policy, rows=8, api_key=None):
    """Serve `policy` in a thread; yield its port and the server."""
    from policies.serving.server import PolicyServer

    started, run = threading.Event(), SimpleNamespace(clients=[])

    async def main():
        run.stop, run.loop = asyncio.Event(), asyncio.get_running_loop()
        run.server = PolicyServer(policy, ACTION, rows=rows, api_key=api_key)

        def on_start(port):
            run.port = port
            started.set()

        await run.server.run("127.0.0.1", 0, run.stop, on_start)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert started.wait(60)
    run.client = lambda **options: run.clients.append(Client(run.port, **options)) or run.clients[-1]
    try:
        yield run
    finally:
        for client in run.clients:
            client.close()
        run.loop.call_soon_threadsafe(run.stop.set)
        thread.join(60)
        assert not thread.is_alive()
