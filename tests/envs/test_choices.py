"""What a user decides about an environment of others, as part of its id."""

import pytest

from envs.choices import Choices, with_choices
from envs.registration import find_environment
from simscaleai.errors import SimScaleError


def test_choices_survive_the_way_through_the_id():
    options = ["path=a b&c=d?e%", "gain=0.5", "name="]
    name = with_choices("gym:X-v0", success="return>=-200", max_episode_steps=7, options=options)
    base, _, query = name.partition("?")
    assert base == "gym:X-v0"
    choices = Choices.parse(query)
    assert choices == Choices("return>=-200", 7, {"gain": "0.5", "name": "", "path": "a b&c=d?e%"})
    assert str(choices) == query
    assert choices.keywords == {"gain": 0.5, "name": "", "path": "a b&c=d?e%"}


def test_a_name_without_choices_stays_as_it_is():
    assert with_choices("reach") == "reach"
    assert with_choices("gym:X-v0?g=1", success="terminated") == "gym:X-v0?g=1&success=terminated"


@pytest.mark.parametrize("query", ["g", "g=1&g=2", "=1", "max_episode_steps=0", "max_episode_steps=many"])
def test_a_damaged_query_is_refused(query):
    with pytest.raises(SimScaleError, match="expected"):
        Choices.parse(query)


@pytest.mark.parametrize("option", ["g", "=1", "success=terminated"])
def test_an_option_needs_a_name_and_a_value(option):
    with pytest.raises(SimScaleError, match="expected --env-option NAME=VALUE"):
        with_choices("gym:X-v0", options=[option])


def test_a_tabletop_task_has_nothing_to_choose():
    with pytest.raises(SimScaleError, match="has its own success rule"):
        find_environment("SimScale/Reach-v0?success=terminated")


def test_the_id_alone_finds_the_same_environment():
    registration = find_environment("gym:Pendulum-v1?success=return>=-200&g=9.0")
    spec = registration.offer()
    assert spec.env_id == registration.env_id
    again = find_environment(spec.env_id).offer()
    assert again == spec
    assert spec.success == "the return of the episode is at least -200"
    assert spec.max_episode_steps == 200


def test_the_digest_covers_every_choice():
    queries = ("success=return>=-200", "success=return>=-300", "success=return>=-200&g=9.0",
               "success=return>=-200&max_episode_steps=50")  # fmt: skip
    assert len({find_environment(f"gym:Pendulum-v1?{query}").offer().digest for query in queries}) == 4
