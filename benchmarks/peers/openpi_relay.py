"""Stand-alone: passes observations from a process of ours to real openpi clients, one for each slot.

`benchmarks.peers.openpi_check` starts it with an interpreter that has `openpi-client`, which this project cannot
install: it needs numpy < 2. Nothing of this project is imported but the framing of messages, by its path.
"""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "simscaleai" / "hosting"))
import wire


class Relay:
    """Answers calls: the methods without an underscore."""

    def __init__(self) -> None:
        self._clients: dict[int, WebsocketClientPolicy] = {}

    def connect(self, body: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Connect the clients of all slots; return the metadata of the server."""
        for client in body["clients"]:
            self._clients[client] = WebsocketClientPolicy(host="127.0.0.1", port=body["port"])
        return {"metadata": self._clients[body["clients"][0]].get_server_metadata()}, {}

    def infer(self, body: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Let each client ask the server at the same time; row i of the arrays is for client i."""
        requests = [
            {**{key: rows[row] for key, rows in arrays.items()}, **entries}
            for row, entries in enumerate(body["entries"])
        ]
        with ThreadPoolExecutor(len(requests)) as threads:
            clients = [self._clients[client] for client in body["clients"]]
            replies = list(threads.map(lambda client, request: client.infer(request), clients, requests))
        return {}, {"actions": np.stack([reply["actions"] for reply in replies])}


def main(connection_number: int, lifeline_number: int) -> None:
    """Answer the calls of the other process until it closes the connection."""
    connection, relay = socket.socket(fileno=connection_number), Relay()
    while True:
        try:
            body, arrays = wire.receive(connection)
        except wire.Closed:
            return
        try:
            answer = getattr(relay, body["call"])(body, arrays)
        except Exception as error:
            answer = {"error": "policy", "text": f"{type(error).__name__}: {error}"}, {}
        wire.send(connection, *answer)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
