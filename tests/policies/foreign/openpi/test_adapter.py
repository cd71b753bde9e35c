"""Adapter files: the shipped ones, and what is said about mistakes in one's own."""

import tomllib

import pytest

from policies.__main__ import main
from policies.foreign.openpi.adapter import adapter_names, parse_adapter, read_adapter
from simscaleai.errors import SimScaleError, UnknownNameError

TEXT = """
n_action_steps = 5
prompt = "prompt"

[[images]]
key = "observation/image"
camera = "front"
size = [224, 224]

[[vectors]]
key = "observation/state"
parts = [{ vector = "state", entries = ["ee_position"] }]

[action]
size = 7
gripper = { entry = 6, sign = -1 }
"""


def test_the_shipped_adapters_are_valid_and_say_what_they_are_for():
    assert adapter_names() == ["aloha", "droid", "libero", "roboarena"]
    assert all(read_adapter(name).summary for name in adapter_names())


def test_the_list_of_policies_names_them(capsys):
    assert main([]) == 0
    listing = capsys.readouterr().out
    assert all(name in listing and read_adapter(name).summary in listing for name in adapter_names())


def test_the_digest_is_that_of_what_the_adapter_says(tmp_path):
    def digest(text):
        file = tmp_path / "own.toml"
        file.write_text(text)
        return read_adapter(str(file)).digest

    assert digest(TEXT) == digest('summary = "Mine."\n' + TEXT + "# a comment\n")
    assert digest(TEXT) != digest(TEXT.replace("sign = -1", "sign = 1"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prompt =", "promt =", "Unknown entry of the adapter 'promt'. Did you mean 'prompt'"),
        ("camera =", "camra =", "Unknown entry of images 'camra'. Did you mean 'camera'"),
        ("vector =", "vektor =", "Unknown entry of parts 'vektor'. Did you mean 'vector'"),
        ("entry =", "index =", "Unknown entry of gripper 'index'"),
        ("size = 7", "", "expected action.size of type int, got none"),
        ("[224, 224]", "[224]", r"expected images\.size of type tuple"),
        ("[224, 224]", "[0, 224]", "height and width of 1 to 4096 px"),
        ("[224, 224]", '"large"', "expected"),
        ('"state", entries', "7, entries", "expected"),
        ("= 5", "= 0", "n_action_steps of at least 1"),
        ("= 5", "= 1.5", "expected n_action_steps of type int"),
        ("sign = -1", "sign = 0", "expected"),
        ("entry = 6", "entry = 7", "gripper among entries 0 to 6"),
        ("size = 7", "size = 7\nfirst = 3\ncount = 5", "first and count within the 7 numbers"),
        ("size = 7", "size = 7\nscale = [1.0, 2.0]", "a scale for one or all of 7 numbers"),
        ('"observation/state"', '"observation/image"', "different keys, got 'observation/image' twice"),
        ('prompt = "prompt"', 'prompt = "observation/state"', "different keys"),
        ("[[images]]", "[images]", "expected images"),
        ("[action]", "[[action]]", "expected action"),
        ("[action]", "[action", "expected TOML"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_entry(tmp_path, old, new, message):
    assert old in TEXT
    file = tmp_path / "own.toml"
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(SimScaleError, match=message) as caught:
        read_adapter(str(file))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value).replace("at end of document", "")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(UnknownNameError, match=r"Unknown adapter 'libreo'\. Did you mean 'libero'"):
        read_adapter("libreo")
    with pytest.raises(SimScaleError, match="cannot read the adapter"):
        read_adapter(str(tmp_path / "missing.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SimScaleError, match="expected TOML"):
        read_adapter(str(tmp_path / "binary.toml"))


def test_the_example_is_valid():
    assert parse_adapter(tomllib.loads(TEXT)).action.taken == 7
