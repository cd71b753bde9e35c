"""A policy server on this machine that follows a script, for tests of the client."""

import threading
from contextlib import contextmanager

from websockets.sync.server import serve

from policies.foreign.openpi.codec import pack, unpack


@contextmanager
def served(handle, metadata=None, port=0):
    """Yield the port of a server that sends `metadata` and then gives each connection to `handle(connection)`."""

    def greet(connection):
        connection.send(pack(metadata or {}) if isinstance(metadata, dict | None) else metadata)
        handle(connection)

    with serve(greet, "127.0.0.1", port, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


def answering(reply, requests=None):
    """Return a handler that answers each request with `reply(request)`: data to pack, bytes or a text.

    An answer of None closes the connection without a reply, a traceback closes it after the reply. Unpacked requests
    are added to the list `requests`.
    """

    def handle(connection):
        for frame in connection:
            request = unpack(frame)
            if requests is not None:
                requests.append(request)
            answer = reply(request)
            if answer is None:
                return
            connection.send(answer if isinstance(answer, bytes | str) else pack(answer))
            if isinstance(answer, str) and answer.startswith("Traceback"):
                connection.close(1011)
                return

    return handle
