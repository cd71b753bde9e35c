"""Connections to a server: errors, silence, losses and reconnections, and what is said about a wrong address."""

import socket
import time
from threading import Event
from types import SimpleNamespace

import pytest
from loopback import answering, served

from policies.base import PolicyUnavailable
from policies.foreign.openpi.client import ServedPolicyError, Server
from policies.foreign.openpi.codec import pack, unpack
from policies.foreign.openpi.lines import Lines
from simscaleai.errors import SimScaleError
from simscaleai.hosting.process import kill_busy_hosts
from tests.waiting import kill_the_next_busy_host

PING = pack({"ping": 1})


@pytest.fixture
def connect():
    """Connects with short times, and closes what was connected at the end."""
    opened = []

    def make(port, **times):
        usual = {"seconds_to_open": 0.2, "seconds_to_reconnect": 0.3, "seconds_to_answer": 5.0}
        opened.append(Server(f"ws://127.0.0.1:{port}", **(usual | times)))
        return opened[-1]

    yield make
    for server in opened:
        server.close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_each_request_gets_its_reply_in_order_however_many_there_are(connect):
    with served(answering(lambda request: {"twice": 2 * request["x"]}), {"name": "double"}) as port:
        server = connect(port)
        assert server.metadata == {"name": "double"}
        replies = server.ask([pack({"x": x}) for x in range(50)], may_repeat=False)
        assert [unpack(reply)["twice"] for reply in replies] == [2 * x for x in range(50)]


def test_a_text_is_an_error_of_the_policy_and_the_next_request_reconnects(connect):
    answers = iter(["Traceback\nValueError: no such prompt", {"fine": True}])
    with served(answering(lambda request: next(answers))) as port:
        server = connect(port)
        with pytest.raises(ServedPolicyError, match="no such prompt"):
            server.ask([PING, PING], may_repeat=True)
        assert unpack(server.ask([PING], may_repeat=False)[0]) == {"fine": True}


def test_a_text_is_read_although_the_server_has_closed_before_the_last_request(connect):
    def handle(connection):
        connection.send("Traceback\nValueError: at once")
        connection.close(1011)

    with served(handle) as port:
        server = connect(port)
        time.sleep(0.2)
        with pytest.raises(ServedPolicyError, match="at once"):
            server.ask([PING] * 20, may_repeat=True)


def test_reset_is_confirmed_by_a_text(connect):
    with served(answering(lambda request: "reset successful")) as port:
        assert connect(port).ask([PING], may_repeat=False) == ["reset successful"]


def test_a_lost_connection_is_opened_again_and_the_requests_are_repeated(connect):
    answers = iter([{"n": 1}, None, {"n": 2}, {"n": 3}])
    with served(answering(lambda request: next(answers))) as port:
        server = connect(port)
        assert [unpack(each) for each in server.ask([PING, PING], may_repeat=True)] == [{"n": 2}, {"n": 3}]


def test_requests_that_must_not_be_repeated_are_not(connect):
    requests = []
    answers = iter([None, {"n": 2}])
    with served(answering(lambda request: next(answers), requests)) as port:
        server = connect(port)
        with pytest.raises(PolicyUnavailable, match="connection was lost"):
            server.ask([PING], may_repeat=False)
        assert len(requests) == 1
        assert unpack(server.ask([PING], may_repeat=False)[0]) == {"n": 2}


def test_a_connection_that_is_lost_twice_is_unavailable(connect):
    with served(answering(lambda request: None)) as port, pytest.raises(PolicyUnavailable, match="connection was lost"):
        connect(port).ask([PING], may_repeat=True)


def test_a_server_that_is_gone_is_waited_for_once(connect, monkeypatch):
    pauses = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr("policies.foreign.openpi.client.time", clock)
    port = free_port()
    with served(answering(lambda request: {}), port=port):
        server = connect(port)
    with pytest.raises(PolicyUnavailable, match="refused"):
        server.ask([PING], may_repeat=True)
    waited = sum(pauses)
    assert waited > 0.1
    for _ in range(20):
        with pytest.raises(PolicyUnavailable, match="refused"):
            server.ask([PING], may_repeat=True)
    assert sum(pauses) == waited
    with served(answering(lambda request: {"back": True}), port=port):
        assert unpack(server.ask([PING], may_repeat=True)[0]) == {"back": True}


@pytest.fixture
def over():
    """Is set at the end of the test."""
    event = Event()
    yield event
    event.set()


def test_a_silent_server_is_unavailable(connect, over):
    with served(lambda connection: over.wait(60)) as port:
        with pytest.raises(PolicyUnavailable, match=r"has not answered for 0\.2 s"):
            connect(port, seconds_to_answer=0.2).ask([PING], may_repeat=True)
        over.set()


def test_a_watchdog_can_end_the_wait_for_a_reply(connect, over):
    with served(lambda connection: over.wait(60)) as port:
        server = connect(port, seconds_to_answer=600)
        kill_the_next_busy_host()
        with pytest.raises(PolicyUnavailable, match="connection was lost"):
            server.ask([PING], may_repeat=True)
        assert not kill_busy_hosts()
        over.set()


def test_every_slot_has_its_connection_and_gets_its_reply(connect):
    of_connection = {}

    def handle(connection):
        for frame in connection:
            slot = unpack(frame)["slot"]
            of_connection.setdefault(slot, set()).add(id(connection))
            connection.send(pack({"slot": slot}))

    with served(handle) as port:
        lines = Lines(connect(port), 3)
        for slots in ([0, 1, 2, 3, 4, 5, 6], [4], [2, 6]):
            replies = lines.ask(slots, [pack({"slot": slot}) for slot in slots], may_repeat=True)
            assert [unpack(reply)["slot"] for reply in replies] == slots
        lines.close()
    assert all(len(connections) == 1 for connections in of_connection.values())
    assert len(set.union(*of_connection.values())) == 3


def test_an_error_on_one_of_several_connections_is_raised(connect):
    def reply(request):
        return "Traceback\nValueError: slot 1" if request["slot"] == 1 else {"slot": request["slot"]}

    with served(answering(reply)) as port:
        lines = Lines(connect(port), 2)
        with pytest.raises(ServedPolicyError, match="slot 1"):
            lines.ask([0, 1], [pack({"slot": slot}) for slot in (0, 1)], may_repeat=True)
        assert unpack(lines.ask([0], [pack({"slot": 0})], may_repeat=True)[0]) == {"slot": 0}
        lines.close()


def test_a_server_that_does_not_read_is_unavailable(connect, over):
    def deafness(connection):
        with connection.recv_flow_control:
            over.wait(60)

    large = pack({"x": bytes(30_000_000)})
    with served(deafness) as port:
        with pytest.raises(PolicyUnavailable):
            connect(port, seconds_to_answer=0.3).ask([large, large], may_repeat=False)
        over.set()


def test_another_server_at_the_same_address_is_not_asked(connect):
    port = free_port()
    with served(answering(lambda request: {}), {"name": "a"}, port):
        server = connect(port)
    with (
        served(answering(lambda request: {}), {"name": "b"}, port),
        pytest.raises(PolicyUnavailable, match="another server than before"),
    ):
        server.ask([PING], may_repeat=True)


def test_nobody_there_is_one_line(connect):
    with pytest.raises(SimScaleError, match=r"no policy server to use at ws://127.*refused.*start one") as caught:
        connect(free_port())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"), [("hello", "got the text 'hello'"), (b"\xc1", "expected a message"), (b"\x01", "a map")]
)
def test_a_server_of_something_else_is_one_line(connect, metadata, message):
    with served(lambda connection: None, metadata) as port, pytest.raises(SimScaleError, match=message):
        connect(port)


@pytest.mark.parametrize(
    "url", ["ws://localhost", "ws://:8000", "ws://localhost:port", "ws://localhost:99999", "ws://["]
)
def test_an_address_without_host_and_port_is_one_line(url):
    with pytest.raises(SimScaleError, match="expected --model ws://HOST:PORT"):
        Server(url)


def test_the_key_comes_from_the_environment(connect, monkeypatch):
    keys = []

    def check(connection):
        keys.append(connection.request.headers.get("Authorization"))

    with served(check) as port:
        connect(port)
        monkeypatch.setenv("SIMSCALE_API_KEY", "secret")
        connect(port)
    assert keys == [None, "Api-Key secret"]


def test_a_refusal_names_the_variable_of_the_key():
    from threading import Thread

    from websockets.sync.server import serve

    def refuse(connection, request):
        return connection.respond(401, "no")

    with serve(lambda connection: None, "127.0.0.1", 0, process_request=refuse) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(SimScaleError, match="HTTP 401; set SIMSCALE_API_KEY to its key"):
            Server(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", seconds_to_open=30)
        assert time.monotonic() - began < 10
        server.shutdown()
