"""What clients of a server get: plain ones as with openpi, those of the seeded extension as in process."""

import re
import threading
import time

import numpy as np
import pytest
from served import ACTION, Walker, in_process, observation, seeded, serving
from websockets.exceptions import ConnectionClosed

from policies.base import Policy
from policies.foreign.openpi.announcement import Announcement
from policies.serving import episodes as episodes_module
from policies.serving.episodes import Episodes, ServerFull
from simscaleai.contract import Needs
from simscaleai.errors import PolicyUnavailable
from tests.waiting import wait_until

CALLS = 6


def actions(reply):
    assert reply["actions"].dtype == np.float32
    return reply["actions"].tobytes()


def test_metadata_says_what_the_policy_is_and_needs(server):
    told = Announcement.from_json(server.client().metadata["simscale"])
    assert (told.version, told.identity, told.needs, told.action) == (1, "walker", Walker.needs, ACTION)
    assert told.options == {"n_action_steps": 2}


def test_a_plain_client_gets_chunks_and_times_as_from_openpi(server):
    client = server.client()
    first, second = (client.ask(observation(number)) for number in range(2))
    assert [actions(first), actions(second)] == [each.tobytes() for each in in_process(0, 2)]
    assert first["policy_timing"]["infer_ms"] > 0
    assert "prev_total_ms" not in first["server_timing"]
    assert second["server_timing"]["prev_total_ms"] >= first["server_timing"]["infer_ms"]


def test_plain_clients_get_the_seeds_of_the_server_in_turn(server):
    assert [actions(server.client().ask(observation(0))) for _ in range(3)] == [
        in_process(seed, 1)[0].tobytes() for seed in range(3)
    ]


def test_another_prompt_and_a_reset_begin_an_episode_of_a_plain_client(server):
    client = server.client()
    client.ask(observation(0))
    assert actions(client.ask(observation(0, "stop"))) == in_process(1, 1, "stop")[0].tobytes()
    assert client.ask({"endpoint": "reset"}) == "reset successful"
    assert actions(client.ask({"endpoint": "infer", **observation(0, "stop")})) == in_process(2, 1, "stop")[0].tobytes()


def test_seeded_clients_get_the_actions_of_the_process_whatever_others_do(server):
    expected = {seed: [each.tobytes() for each in in_process(seed, CALLS)] for seed in range(8)}
    got = {}

    def play(seed):
        client, other = server.client(), server.client()
        answers = []
        for call in range(CALLS):
            answers.append(actions(client.ask(seeded(f"episode {seed}", seed, call))))
            other.ask(observation(seed * call))
        got[seed] = answers

    threads = [threading.Thread(target=play, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == expected


def test_one_connection_may_carry_several_episodes(server):
    client = server.client()
    got = {seed: [] for seed in (3, 4)}
    for call in range(CALLS):
        for seed, answers in got.items():
            answers.append(actions(client.ask(seeded(f"slot {seed}", seed, call))))
    assert got == {seed: [each.tobytes() for each in in_process(seed, CALLS)] for seed in got}


def test_the_newest_request_can_be_repeated_also_on_another_connection(server, walker):
    expected = [each.tobytes() for each in in_process(7, 3)]
    for call in range(3):
        for _ in range(2):
            assert actions(server.client().ask(seeded("e", 7, call))) == expected[call]
    assert sum(walker.batches) == 3


def test_the_first_request_with_other_contents_begins_the_next_episode(server):
    client = server.client()
    client.ask(seeded("slot", 7, 0))
    assert actions(client.ask(seeded("slot", 8, 0))) == in_process(8, 1)[0].tobytes()
    assert actions(client.ask(seeded("slot", 8, 1))) == in_process(8, 2)[1].tobytes()


def test_an_episode_that_the_server_does_not_know_is_said_to_be_unknown(server):
    client = server.client()
    assert client.ask(seeded("never begun", 1, 4)) == {"simscale": {"unknown_episode": True}}
    assert actions(client.ask(seeded("never begun", 1, 0))) == in_process(1, 1)[0].tobytes()


def refused(server, request, *, code=1011):
    """Return the text with which the server refuses a request and closes the connection."""
    client = server.client()
    text = client.ask(request)
    with pytest.raises(ConnectionClosed) as closed:
        client.connection.recv(timeout=60)
    assert closed.value.rcvd.code == code
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"state": np.zeros(4, np.float32)},
            r"'state' .* numbers of shape \(3,\), got float32 of shape \(4,\)",
        ),
        ({"state": "here"}, "'state' as an array of numbers .* got str"),
        ({"front": np.zeros((3, 4, 5), np.uint8)}, r"image 'front' as a uint8 array of shape \(4, 5, 3\)"),
        ({"front": np.zeros((4, 5, 3), np.float32)}, "image 'front' as a uint8 array .* got float32"),
        ({"front": None}, "image 'front' .* got none"),
        ({"prompt": ""}, "instruction as a text under 'prompt', got none"),
        ({"prompt": 5}, "'prompt' as a text .* got int"),
        ({"prompt": "x" * 5000}, "'prompt' as a text of at most 4096 characters"),
        ({"endpoint": "train"}, "endpoint 'infer' or 'reset', got 'train'"),
        ({"simscale": 3}, "'simscale' as a map"),
        ({"simscale": {"episode": "", "seed": 0, "call": 0}}, "episode as a text of 1 to"),
        ({"simscale": {"episode": "e", "seed": -1, "call": 0}}, "seed as an integer of at least 0, got -1"),
        ({"simscale": {"episode": "e", "seed": 0, "call": True}}, "call as an integer of at least 0, got True"),
    ],
)
def test_a_bad_request_is_refused_with_one_line(server, change, says):
    text = refused(server, {**observation(0), **change})
    assert "\n" not in text
    assert re.search(says, text), text
    assert actions(server.client().ask(seeded("e", 1, 0))) == in_process(1, 1)[0].tobytes()


def test_a_request_out_of_order_is_refused(server):
    server.client().ask(seeded("e", 1, 0))
    assert "expected call 0 or 1 of this episode, got 5" in refused(server, seeded("e", 1, 5))


class Moody(Walker):
    """Raises on demand."""

    def predict(self, observation, slots):
        if observation["state"][0, 0] == 13:
            raise ValueError("thirteen")
        if observation["state"][0, 0] == 14:
            raise PolicyUnavailable("my own server is lost" + "…" * 200)
        if observation["state"][0, 0] == 15:
            return "left"
        return super().predict(observation, slots)


@pytest.mark.parametrize(("state", "says"), [(13, "ValueError: thirteen"), (15, "the policy gave str")])
def test_an_exception_of_the_policy_is_told_to_its_client_only(state, says):
    with serving(Moody(), rows=1) as server:
        other = server.client()
        other.ask(seeded("other", 5, 0))
        text = refused(server, {**seeded("e", 1, 0), "state": np.full(3, state, np.float32)})
        assert text.startswith("Traceback")
        assert says in text
        assert actions(other.ask(seeded("other", 5, 1))) == in_process(5, 2)[1].tobytes()
        assert server.client().ask(seeded("e", 1, 1)) == {"simscale": {"unknown_episode": True}}


def test_a_policy_that_is_unavailable_is_no_failure_of_the_policy():
    with serving(Moody(), rows=1) as server:
        client = server.client()
        with pytest.raises(ConnectionClosed) as closed:
            client.ask({**observation(0), "state": np.full(3, 14, np.float32)})
        assert closed.value.rcvd.code == 1013
        assert "lost" in closed.value.rcvd.reason


class Slow(Walker):
    """Takes its time."""

    def predict(self, observation, slots):
        time.sleep(0.02)
        return super().predict(observation, slots)


def test_requests_of_several_clients_share_batches_in_one_thread(monkeypatch):
    """A batch waits half a second for other clients, so that a busy machine does not make them late."""
    monkeypatch.setattr("policies.serving.batching._PATIENCE", 25.0)
    policy = Slow()
    with serving(policy) as server:
        clients = [server.client() for _ in range(8)]

        def play(client):
            for number in range(6):
                client.ask(observation(number))

        threads = [threading.Thread(target=play, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(policy.batches) == 48
    assert len(policy.batches) <= 10  # six if every batch is full
    assert len(policy.threads) == 1


def wait_for_the_end_of_all_episodes(server):
    wait_until(lambda: len(server.server._service.episodes) == 0)


def test_slots_of_clients_that_are_gone_are_used_again(server, walker):
    for _ in range(20):
        client = server.client()
        client.ask(observation(0))
        client.close()
        wait_for_the_end_of_all_episodes(server)
    assert len(walker.memory) == 1


def test_episodes_that_are_not_used_free_their_slots():
    now = [0.0]
    episodes = Episodes(2, clock=lambda: now[0])
    here = object()
    assert [episodes.begin(key, here).slot for key in "ab"] == [0, 1]
    with pytest.raises(ServerFull, match="all 2 episodes"):
        episodes.begin("c", here)
    now[0] = 1.0
    episodes.find("a", here)
    now[0] = episodes_module.SECONDS_IN_USE + 0.5
    assert episodes.begin("c", here).slot == 1  # that of b, which was not used for longer than a
    episodes.expire()
    assert len(episodes) == 2
    now[0] = episodes_module.SECONDS_IDLE + 2
    episodes.expire()
    assert len(episodes) == 1
    episodes.leave(here)
    now[0] += episodes_module.SECONDS_ALONE + 1
    episodes.expire()
    assert len(episodes) == 0


def test_a_full_server_asks_to_try_again_later(monkeypatch, walker):
    monkeypatch.setattr("policies.serving.server.MOST_EPISODES", 1)
    with serving(walker) as server:
        first, second = server.client(), server.client()
        first.ask(observation(0))
        with pytest.raises(ConnectionClosed) as closed:
            second.ask(observation(0))
        assert closed.value.rcvd.code == 1013
        first.close()
        wait_for_the_end_of_all_episodes(server)
        server.client().ask(observation(0))


def test_windows_of_several_observations_are_stacked():
    class Looking(Policy):
        needs = Needs(vectors=Walker.needs.vectors, history=2)

        def predict(self, observation, slots):
            assert observation["state"].shape == (len(slots), 2, 3)
            return observation["state"][:, :, :2].astype(np.float32)

    with serving(Looking()) as server:
        window = np.arange(6, dtype=np.float64).reshape(2, 3)
        reply = server.client().ask({"state": window})
        np.testing.assert_array_equal(reply["actions"], np.float32([[0, 1], [3, 4]]))
