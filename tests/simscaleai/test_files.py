"""Files and folders: whole or not there, one writer at a time, and nothing that reading would never end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from simscaleai.checkpoint import CheckpointError, load_checkpoint, read_checkpoint_config
from simscaleai.data.description import read_description
from simscaleai.data.episode_file import read_header
from simscaleai.data.episode_list import read_discarded, read_episode_list
from simscaleai.errors import SimScaleError
from simscaleai.files import (
    append_line,
    check_new_folder,
    locked,
    new_folder,
    output_folder,
    read_file,
    replace_file,
)

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def link_to_empty(place: Path) -> Path:
    (place / "elsewhere").mkdir()
    (place / "link").symlink_to("elsewhere")
    return place / "link"


def working_directory(place: Path) -> Path:
    (place / "here").mkdir()
    os.chdir(place / "here")
    return Path()


def empty(place: Path) -> Path:
    (place / "empty").mkdir()
    return place / "empty"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


KINDS = [lambda place: place / "a" / "b" / "new", empty, link_to_empty, working_directory]


@pytest.mark.parametrize("make", KINDS)
def test_any_empty_folder_can_be_filled(place: Path, make: Callable[[Path], Path]) -> None:
    path = make(place).absolute()
    with new_folder(path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("inner")
        (folder / "file").write_text("outer")
    assert sorted(str(each.relative_to(path)) for each in path.rglob("*")) == ["file", "inner", "inner/file"]


@pytest.mark.skipif(not SHARED_MEMORY.is_mount(), reason="needs another file system")
def test_a_folder_on_another_file_system_can_be_filled(place: Path) -> None:
    path = SHARED_MEMORY / f"simscale-test-{os.getpid()}"
    path.mkdir()
    try:
        (place / "link").symlink_to(path)
        with new_folder(place / "link") as folder:
            (folder / "file").write_text("text")
        assert [each.name for each in path.iterdir()] == ["file"]
    finally:
        subprocess.run(["rm", "-r", str(path)], check=True)


@pytest.mark.parametrize("make", KINDS)
def test_an_error_leaves_everything_as_it_was(place: Path, make: Callable[[Path], Path]) -> None:
    path = make(place).absolute()
    before = sorted(place.rglob("*"))
    with pytest.raises(ZeroDivisionError), new_folder(path) as folder:
        (folder / "file").write_text(f"{1 / 0}")
    assert sorted(place.rglob("*")) == before


def test_what_is_there_is_never_overwritten(place: Path) -> None:
    (place / "full").mkdir()
    (place / "full" / "precious").write_text("text")
    (place / "file").write_text("text")
    before = sorted(place.rglob("*"))
    for use in (check_new_folder, lambda path: new_folder(path).__enter__()):
        with pytest.raises(SimScaleError, match="full is not empty; choose another --output"):
            use(place / "full")
        with pytest.raises(SimScaleError, match=r"file is a file; choose another --output"):
            use(place / "file")
    assert sorted(place.rglob("*")) == before


def test_what_a_killed_process_has_left_is_no_obstacle(place: Path) -> None:
    code = (
        "import os, pathlib, signal\nfrom simscaleai.files import new_folder\n"
        "with new_folder(pathlib.Path('new')) as folder:\n"
        "    (folder / 'half').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert list((place / "new").iterdir())
    with new_folder(place / "new") as folder:
        (folder / "whole").write_text("x")
    assert [path.name for path in (place / "new").iterdir()] == ["whole"]


def test_one_process_at_a_time_writes_to_a_folder(place: Path) -> None:
    ways = (locked, output_folder, new_folder)
    (place / "new").mkdir()
    for hold in ways:
        with hold(place / "new"):
            for other in ways:
                with pytest.raises(SimScaleError, match=r"another process is writing to .*new"), other(place / "new"):
                    pass
    with locked(place / "new"):
        pass


def test_an_output_folder_goes_if_nothing_was_written(place: Path) -> None:
    with output_folder(place / "a" / "b"):
        assert (place / "a" / "b").is_dir()
    assert not list(place.iterdir())
    with output_folder(place / "a" / "b"):
        (place / "a" / "b" / "file").write_text("x")
    with output_folder(place / "a" / "b"):
        pass
    assert (place / "a" / "b" / "file").exists()


def test_commands_that_start_at_once_under_one_missing_parent_do_not_disturb_each_other(place: Path) -> None:
    def start(number: int) -> None:
        for attempt in range(30):
            path = place / "parent" / f"{number}-{attempt}"
            check_new_folder(path)
            with output_folder(path):
                time.sleep(0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))
    assert not list(place.glob("parent/*"))


def test_half_characters_are_written_as_escapes(place: Path) -> None:
    replace_file(place / "file", "a\ud800ä")
    append_line(place / "file", "\udcff\n")
    assert (place / "file").read_bytes() == b"a\\ud800\xc3\xa4\\udcff\n"


def test_a_file_beyond_the_limit_is_not_read(place: Path) -> None:
    with (place / "sparse").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SimScaleError, match=r"expected at most 1000 bytes in .*sparse, got 1099511627776"):
        read_file(place / "sparse", 1000)


def special_files(name: str) -> list[Callable[[Path], None]]:
    """Return ways to put at `name` something that is no regular file."""
    return [
        lambda folder: os.mkfifo(folder / name),
        lambda folder: (folder / name).symlink_to("/dev/zero"),
        lambda folder: (folder / name).mkdir(parents=True),
    ]


READERS: dict[str, Callable[[Path], object]] = {
    "config.json": read_checkpoint_config,
    "model.safetensors": load_checkpoint,
    "dataset.json": read_description,
    "episodes.jsonl": read_episode_list,
    "discarded.jsonl": read_discarded,
    "episode.safetensors": lambda folder: read_header(folder / "episode.safetensors"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", range(3))
def test_pipes_and_devices_are_refused_instead_of_read(tmp_path: Path, name: str, kind: int) -> None:
    if name == "model.safetensors":
        (tmp_path / "config.json").write_text("{}")
    special_files(name)[kind](tmp_path)
    with pytest.raises(SimScaleError) as caught:
        READERS[name](tmp_path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "size"), [("config.json", 2**27), ("model.safetensors", 2**36)])
def test_huge_files_of_a_checkpoint_are_refused(tmp_path: Path, name: str, size: int) -> None:
    (tmp_path / "config.json").write_text("{}")
    with (tmp_path / name).open("wb") as file:
        file.truncate(size)
    with pytest.raises(CheckpointError, match=f"expected at most .* bytes in .*{name}"):
        load_checkpoint(tmp_path)
