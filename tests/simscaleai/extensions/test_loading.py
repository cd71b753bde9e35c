"""What users name as `module:attribute` or `file.py:attribute`."""

import pytest

from simscaleai.errors import SimScaleError
from simscaleai.extensions.loading import load_attribute, typed_value


@pytest.fixture
def write(tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_file_is_loaded_once_and_may_import_its_neighbours(write):
    write("beside_it_in_this_folder.py", "X = 3\n")
    path = write("named_by_file.py", "from beside_it_in_this_folder import X\nmade = [X]\n")
    loaded = load_attribute("policy", f"{path}:made")
    assert loaded.value == [3]
    assert loaded.module == "named_by_file"
    assert load_attribute("policy", f"{path}:made").value is loaded.value


def test_files_of_the_same_name_are_different_modules(write):
    values = [load_attribute("policy", f"{write(f'{n}/same_name_twice.py', f'x = {n}')}:x").value for n in (1, 2)]
    assert values == [1, 2]


def test_a_file_may_be_called_like_an_installed_module(write):
    assert load_attribute("policy", f"{write('numpy.py', 'x = 1')}:x").value == 1


@pytest.mark.parametrize(("source", "name", "reason"), [
    ("x = 1", "named_here.py:y", "no attribute 'y'"),
    ("raise OSError('no\\nlicence')", "named_here2.py:y", r"OSError: no licence \(.*named_here2.py, line 1\)"),
    (None, "nothing_here.py:y", "no file"),
    ("import no_such_package", "named_here3.py:y", r"named 'no_such_package' \(.*named_here3.py, line 1\)"),
])  # fmt: skip
def test_what_cannot_be_loaded_is_one_line(write, tmp_path, source, name, reason):
    if source:
        write(name.partition(":")[0], source)
    with pytest.raises(SimScaleError, match=reason) as error:
        load_attribute("policy", f"{tmp_path / name}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["no_such_module:x", ":x"])
def test_the_loader_of_python_is_no_place_in_a_users_code(name):
    with pytest.raises(SimScaleError, match="cannot use policy") as error:
        load_attribute("policy", name)
    assert "importlib" not in str(error.value)


def test_values_that_users_type():
    assert [typed_value(text) for text in ("3", "1e-3", "True", "red", "[1]")] == [3, 0.001, True, "red", "[1]"]
