"""The policy of a server: what it asks for each slot, seeds, dialects, and what is said when it cannot be used."""

import numpy as np
import pytest
from loopback import answering, served

from envs import find_environment
from policies.base import PolicyUnavailable, check_policy
from policies.foreign.openpi.announcement import UNKNOWN_EPISODE, Announcement
from policies.foreign.openpi.client import ServedPolicyError
from policies.registry import make_policy
from simscaleai.errors import MismatchError, SimScaleError, UnknownNameError

SPEC = find_environment("pick-place-language").offer()
ANNOUNCED = Announcement(
    identity="digest of the weights",
    needs=SPEC.needs("state", instruction=True),
    action=SPEC.action,
    options={"n_action_steps": 2},
)
NATIVE = {"simscale": ANNOUNCED.to_json()}
STATE = SPEC.vectors["state"].size

ADAPTER = """
n_action_steps = 3
prompt = "prompt"
session = "session_id"

[[vectors]]
key = "observation/state"
parts = [{ vector = "state", entries = ["ee_position"] }]

[action]
size = 4
"""
ROBOARENA = {
    "image_resolution": [224, 224],
    "needs_wrist_camera": False,
    "n_external_cameras": 0,
    "needs_stereo_camera": False,
    "needs_session_id": True,
    "action_space": "joint_position",
}


@pytest.fixture
def adapter(tmp_path):
    (tmp_path / "own.toml").write_text(ADAPTER)
    return str(tmp_path / "own.toml")


@pytest.fixture
def connect():
    made = []

    def make(port, spec=SPEC, **options):
        made.append(make_policy(f"ws://127.0.0.1:{port}", spec=spec, options=options))
        return made[-1]

    yield make
    for policy in made:
        policy.close()


def observed(n):
    return {"state": np.arange(n * STATE, dtype=np.float32).reshape(n, STATE)}


def drawn(request):
    """A stochastic policy: its actions depend on the state, the words, and the seed and call of the episode."""
    of = request["simscale"]
    rng = np.random.default_rng([of["seed"], of["call"], len(request["prompt"])])
    chunk = rng.normal(size=(4, 4)) + request["state"].sum()
    return {"actions": chunk.astype(np.float32), "server_timing": {"infer_ms": 0.1}}


def test_a_seeded_policy_keeps_the_promises_of_a_policy(connect):
    with served(answering(drawn), NATIVE) as port:
        policy = connect(port)
        assert policy.identity == "digest of the weights"
        assert policy.options == {"n_action_steps": 2}
        check_policy(policy, SPEC)


def test_a_native_request_names_episode_seed_and_call(connect):
    requests = []
    with served(answering(drawn, requests), NATIVE) as port:
        policy = connect(port)
        slots = np.array([0, 3])
        policy.reset(slots, [7, 8], ["lift", "push"])
        policy.predict(observed(2), slots)
        policy.predict(observed(1), slots[:1])
        policy.reset(slots[:1], [7], ["lift"])
        policy.predict(observed(1), slots[:1])
    parts = [request.pop("simscale") for request in requests]
    assert [(part["seed"], part["call"]) for part in parts] == [(7, 0), (8, 0), (7, 1), (7, 0)]
    assert parts[0]["episode"] == parts[2]["episode"]
    assert len({part["episode"] for part in parts}) == 3  # the episode that began again is another one
    assert [request["prompt"] for request in requests] == ["lift", "push", "lift", "lift"]
    np.testing.assert_array_equal(requests[1]["state"], observed(2)["state"][1])


def test_a_repeated_request_is_the_same_call(connect):
    requests = []
    answers = iter([None, *[{"actions": np.zeros((1, 4), np.float32)}] * 2])
    with served(answering(lambda request: next(answers), requests), NATIVE) as port:
        policy = connect(port)
        policy.reset(np.array([0]), [7], ["lift"])
        for _ in range(2):
            policy.predict(observed(1), np.array([0]))
    assert [request["simscale"]["call"] for request in requests] == [0, 0, 1]
    assert len({request["simscale"]["episode"] for request in requests}) == 1


def test_a_server_that_has_forgotten_the_episode_is_unavailable(connect):
    with served(answering(lambda request: UNKNOWN_EPISODE), NATIVE) as port:
        policy = connect(port)
        policy.reset(np.array([0]), [7], ["lift"])
        with pytest.raises(PolicyUnavailable, match="forgotten the episode"):
            policy.predict(observed(1), np.array([0]))


def test_an_adapter_says_what_a_server_gets(connect, adapter):
    requests = []
    with served(answering(lambda request: {"actions": np.ones((5, 4))}, requests), {"name": "pi"}) as port:
        policy = connect(port, adapter=adapter)
        assert policy.options == {"adapter": adapter, "n_action_steps": 3}
        assert connect(port, adapter=adapter, n_action_steps="2").options["n_action_steps"] == 2
        policy.reset(np.array([0]), [7], ["lift"])
        chunks = policy.predict(observed(1), np.array([0]))
    assert chunks.dtype == np.float32
    np.testing.assert_array_equal(chunks, np.ones((1, 5, 4)))
    (request,) = requests
    ee = SPEC.vectors["state"].get(observed(1)["state"][0], "ee_position")
    np.testing.assert_array_equal(request.pop("observation/state"), ee)
    assert request.pop("session_id")
    assert request == {"prompt": "lift"}


def test_the_identity_covers_metadata_and_adapter(connect, adapter, tmp_path):
    def identity(metadata, file):
        with served(answering(lambda request: {}), metadata) as port:
            return connect(port, adapter=file).identity

    other = tmp_path / "other.toml"
    other.write_text(ADAPTER.replace("ee_position", "joint_positions"))
    first = identity({"name": "pi"}, adapter)
    assert identity({"name": "pi"}, adapter) == first
    assert len({first, identity({"name": "pi0"}, adapter), identity({"name": "pi"}, str(other))}) == 3


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("Traceback\nKeyError: 'observation/state'", ServedPolicyError),
        ({"action": np.ones((5, 4))}, TypeError),
        ({"actions": np.ones((5, 7))}, TypeError),
        ("reset successful", TypeError),
        (b"\xc1", ValueError),
    ],
)
def test_nonsense_is_an_error_of_the_policy(connect, adapter, reply, error):
    with served(answering(lambda request: reply)) as port:
        policy = connect(port, adapter=adapter)
        policy.reset(np.array([0]), [7], ["lift"])
        with pytest.raises(error):
            policy.predict(observed(1), np.array([0]))


def test_chunks_of_different_lengths_are_an_error_of_the_policy(connect, adapter):
    lengths = iter([3, 4])
    with served(answering(lambda request: {"actions": np.ones((next(lengths), 4))})) as port:
        policy = connect(port, adapter=adapter)
        policy.reset(np.arange(2), [7, 8], ["lift"] * 2)
        with pytest.raises(TypeError, match=r"chunks of the same length, got \[3, 4\]"):
            policy.predict(observed(2), np.arange(2))


def test_roboarena_is_told_of_every_episode_and_answers_with_bare_arrays(connect, adapter):
    requests = []

    def reply(request):
        return "reset successful" if request["endpoint"] == "reset" else np.ones((2, 4), np.float32)

    with served(answering(reply, requests), ROBOARENA) as port:
        policy = connect(port, adapter=adapter)
        policy.reset(np.array([0]), [7], ["lift"])
        np.testing.assert_array_equal(policy.predict(observed(1), np.array([0])), np.ones((1, 2, 4)))
    assert [request["endpoint"] for request in requests] == ["reset", "infer"]
    assert requests[0]["session_id"] == requests[1]["session_id"]


def test_roboarena_is_never_asked_twice(connect, adapter):
    answers = iter(["reset successful", None])
    requests = []
    with served(answering(lambda request: next(answers), requests), ROBOARENA) as port:
        policy = connect(port, adapter=adapter)
        policy.reset(np.array([0]), [7], ["lift"])
        with pytest.raises(PolicyUnavailable):
            policy.predict(observed(1), np.array([0]))
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_external_cameras": 1}, "wants the image 'observation/exterior_image_0_left'"),
        ({"needs_wrist_camera": True}, "wants the image 'observation/wrist_image_left'"),
        ({"n_external_cameras": 10**9}, "0 to 2 external cameras"),
        ({"n_external_cameras": "one"}, "expected metadata.n_external_cameras of type int"),
        ({"n_external_cameras": np.ones(3)}, "metadata of the server is damaged"),
    ],
)
def test_roboarena_says_which_images_it_wants(connect, adapter, change, message):
    with served(answering(lambda request: {}), ROBOARENA | change) as port, pytest.raises(SimScaleError, match=message):
        connect(port, adapter=adapter)


def test_roboarena_says_in_which_size(connect, tmp_path):
    file = tmp_path / "wrist.toml"
    file.write_text('[[images]]\nkey = "x"\ncamera = "wrist"\nsize = [128, 128]\n[action]\nsize = 4\n')
    message = r"wants images of \(224, 224\), the adapter sends x \(128, 128\)"
    with served(answering(lambda request: {}), ROBOARENA) as port, pytest.raises(SimScaleError, match=message):
        connect(port, adapter=str(file))


def test_what_cannot_be_used_is_one_line(connect, adapter):
    with served(answering(lambda request: {})) as port:
        with pytest.raises(SimScaleError, match=r"does not say which observations .* --adapter aloha, droid, libero"):
            connect(port)
        with pytest.raises(UnknownNameError, match=r"Unknown policy option 'adaptor'\. Did you mean 'adapter'"):
            connect(port, adaptor=adapter)
        with pytest.raises(UnknownNameError, match="Unknown adapter 'libro'"):
            connect(port, adapter="libro")
        with pytest.raises(UnknownNameError, match=r"vector 'state' \(named by the adapter\) 'end_effector_position'"):
            connect(port, adapter="libero")


def test_a_native_server_for_another_environment_is_a_mismatch(connect):
    said = ANNOUNCED.to_json()
    for wrong, error, message in [
        (said | {"version": 2}, SimScaleError, "expected version 1 of seeded serving"),
        (said | {"needs": 5}, SimScaleError, "expected needs"),
        (said | {"action": said["action"] | {"meaning": "joint positions"}}, MismatchError, "joint positions"),
    ]:
        with served(answering(drawn), {"simscale": wrong}) as port, pytest.raises(error, match=message):
            connect(port)
