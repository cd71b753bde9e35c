"""The inference server: which rows share a call of the model, and which worker bears an exception."""

import multiprocessing
import time
from threading import Event, Thread

import numpy as np
import pytest

from policies.base import PolicyUnavailable
from policies.learned.process.board import LONGEST_TEXT, Board, State
from policies.learned.process.remote import ModelError, RemotePolicy
from policies.learned.process.server import InferenceServer
from policies.learned.rows import PolicyOutline, SlotMemory
from simscaleai.contract import Feature, Layout, Needs
from simscaleai.errors import SimScaleError

CONTEXT = multiprocessing.get_context("spawn")
NEEDS = Needs(vectors={"state": Layout((Feature("place", 2, "m", "world"),))}, cameras={"front": (4, 5)})
OUTLINE = PolicyOutline(
    identity="weights", options={"n_action_steps": 2}, needs=NEEDS, noise=(3, 2), draws_seeds=False, chunk=(2, 1)
)
TILE = 4
BROKEN = 13.0


class Model:
    """Adds up all that a row holds. Stops before a call as long as `gate` is closed."""

    rows_at_once, outline = TILE, OUTLINE

    def __init__(self, calls_at_once=1):
        self.calls_at_once, self.sizes, self.gate = calls_at_once, [], Event()
        self.gate.set()

    def compute(self, rows):
        self.gate.wait()
        self.sizes.append(len(rows))
        state = rows.observation["state"]
        if (state == BROKEN).any():
            raise ValueError("thirteen")
        images = rows.observation["front"].reshape(len(rows), -1).sum(1)
        words = np.array([len(text) for text in rows.texts])
        total = state.sum(1) + images + words + rows.noise.sum((1, 2))
        return np.repeat(total, 2).reshape(len(rows), 2, 1).astype(np.float32)


@pytest.fixture
def serve():
    """Starts a server with so many seats; returns its board."""

    def begin(model, seats=2, rows=8, cores=1):
        board = Board(CONTEXT, OUTLINE, rows, seats)
        Thread(target=InferenceServer(model, board, cores).run, daemon=True).start()
        return board

    return begin


def observe(places):
    images = np.arange(len(places) * 60, dtype=np.uint8).reshape(len(places), 4, 5, 3)
    return {"state": np.array([[place, 1.0] for place in places], dtype=np.float32), "front": images}


def worker(board, slots=3, *, alone=False):
    policy = RemotePolicy(board, board.take(alone=alone))
    policy.reset(np.arange(slots), range(slots), ["go" * slot for slot in range(slots)])
    return policy


class Asking(Thread):
    """Asks a policy about rows in a thread of its own."""

    def __init__(self, policy, places):
        super().__init__(daemon=True)
        self.policy, self.places, self.answer = policy, places, None
        self.start()

    def run(self):
        try:
            self.answer = self.policy.predict(observe(self.places), np.arange(len(self.places)))
        except (ModelError, PolicyUnavailable) as error:
            self.answer = error

    def result(self):
        self.join(60)
        assert not self.is_alive()
        return self.answer


def expected(places):
    memory = SlotMemory(OUTLINE)
    memory.reset(np.arange(3), range(3), ["go" * slot for slot in range(3)])
    return Model().compute(memory.rows(observe(places), np.arange(len(places))))


def wait_for(board, state, number=1):
    deadline = time.monotonic() + 60
    while len(board.seats_in(state)) < number:
        assert time.monotonic() < deadline


def test_a_worker_gets_the_chunks_of_its_rows(serve):
    answer = worker(serve(Model())).predict(observe([5, 6, 7]), np.arange(3))
    np.testing.assert_array_equal(answer, expected([5, 6, 7]))


def test_rows_of_different_workers_share_a_call(serve):
    model = Model()
    board = serve(model, seats=3)
    model.gate.clear()
    first = Asking(worker(board), [1, 2, 3])
    wait_for(board, State.RUNNING)
    others = [Asking(worker(board), places) for places in ([4, 5, 6], [7, 8, 9])]
    wait_for(board, State.ASKED, 2)
    model.gate.set()
    np.testing.assert_array_equal(first.result(), expected([1, 2, 3]))
    for other, places in zip(others, ([4, 5, 6], [7, 8, 9]), strict=True):
        np.testing.assert_array_equal(other.result(), expected(places))
    assert model.sizes == [3, 4, 2]


def test_an_exception_is_the_fault_of_the_call_that_causes_it(serve):
    model = Model()
    board = serve(model, seats=3)
    model.gate.clear()
    first = Asking(worker(board), [1])
    wait_for(board, State.RUNNING)
    bad, good = Asking(worker(board), [4, BROKEN]), Asking(worker(board), [7, 8])
    wait_for(board, State.ASKED, 2)
    model.gate.set()
    first.result()
    assert "ValueError: thirteen" in str(bad.result())
    np.testing.assert_array_equal(good.result(), expected([7, 8]))
    assert model.sizes == [1, 4, 2, 2]


def test_a_worker_whose_call_failed_can_ask_again(serve):
    policy = worker(serve(Model()), slots=8)
    with pytest.raises(ModelError, match="thirteen"):
        policy.predict(observe([BROKEN, *range(7)]), np.arange(8))
    assert policy.predict(observe([1]), np.arange(1)).shape == (1, 2, 1)


def test_a_call_that_must_be_alone_shares_nothing(serve):
    model = Model(calls_at_once=2)
    board = serve(model, seats=3, cores=2)
    model.gate.clear()
    first = Asking(worker(board), [1, 2, 3])
    wait_for(board, State.RUNNING)
    alone = Asking(worker(board, alone=True), [4, 5, 6])
    wait_for(board, State.ASKED)
    model.gate.set()
    np.testing.assert_array_equal(alone.result(), expected([4, 5, 6]))
    np.testing.assert_array_equal(first.result(), expected([1, 2, 3]))
    assert model.sizes == [3, 3]


def test_a_call_that_ended_a_server_is_computed_again_alone_and_then_refused():
    board = Board(CONTEXT, OUTLINE, rows=8, seats=2)
    asking = Asking(worker(board), [1, 2])
    wait_for(board, State.ASKED)
    for _ in range(2):  # a server that dies as soon as it has taken the call
        board.set_state(0, State.RUNNING)
        board.put_back()
    assert isinstance(asking.result(), PolicyUnavailable)
    again = Asking(worker(board), [1, 2])
    wait_for(board, State.ASKED)
    board.set_state(1, State.RUNNING)
    board.put_back()
    assert board.runs_alone(1)
    Thread(target=InferenceServer(Model(), board, 1).run, daemon=True).start()
    np.testing.assert_array_equal(again.result(), expected([1, 2]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": np.zeros((1, 2))}, r"observation 'state' as float32 \(1, 2\), got float64 \(1, 2\)"),
        ({"front": np.zeros((1, 5, 4, 3), np.uint8)}, r"observation 'front' as uint8 \(1, 4, 5, 3\), got uint8"),
    ],
)
def test_an_observation_of_another_shape_or_type_is_refused(changes, message):
    policy = worker(Board(CONTEXT, OUTLINE, rows=8, seats=1))
    with pytest.raises(SimScaleError, match=message):
        policy.predict(observe([1]) | changes, np.arange(1))


def test_an_instruction_that_is_too_long_is_refused():
    policy = RemotePolicy(Board(CONTEXT, OUTLINE, rows=8, seats=1), 0)
    policy.reset(np.arange(1), [0], ["é" * LONGEST_TEXT])
    with pytest.raises(SimScaleError, match=f"at most {LONGEST_TEXT} bytes, got {2 * LONGEST_TEXT}"):
        policy.predict(observe([1]), np.arange(1))
