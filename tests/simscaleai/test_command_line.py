"""How every command begins: a mistake in the flags is one line, printing never fails, Ctrl-C leaves no traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from simscaleai.command_line import exit_code
from simscaleai.errors import SimScaleError

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
from dataclasses import dataclass
from simscaleai.command_line import parse, say_mistake
from simscaleai.errors import SimScaleError

@dataclass(frozen=True)
class Config:
    \"\"\"Text with a ü.\"\"\"
    number: int
    \"\"\"A number.\"\"\"
    share: float = 0.5
    \"\"\"A share.\"\"\"
    colour: str = "red"
    \"\"\"A colour.\"\"\"

for words in [None] if sys.argv[1:] != ["mistakes"] else MISTAKES:
    try:
        parse(Config, "program", words)
        print("found ✓ \\ud800")
        print("warned ✓", file=sys.stderr)
    except SimScaleError as error:
        say_mistake(error)
"""

MISTAKES = {
    (): "error: expected --number INT; got none. See program --help.",
    ("--number", "x"): "error: expected --number with a number, got 'x'. See program --help.",
    ("--number", "1", "--share", "x"): "error: expected --share with a number, got 'x'. See program --help.",
    ("--number", "1", "--color", "x"): "Did you mean --colour? See program --help.",
    ("--number",): "Missing value for argument '--number'",
}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM.replace("MISTAKES", str([*MISTAKES])))
    return tmp_path / "program.py"


def run(*words: str, shell: str = "", **variables: str) -> Done:
    """Run Python with `words`; `shell` redirects its streams."""
    command = ["bash", "-c", f'"$0" "$@" {shell}', sys.executable, *words]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, cwd=ROOT, check=False)
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "ascii", "latin-1", "cp1252"])
def test_a_wrong_flag_is_one_line_in_every_encoding(program: Path, encoding: str) -> None:
    done = run(str(program), "mistakes", PYTHONIOENCODING=encoding)
    for line, said in zip(done.err.splitlines(), MISTAKES.values(), strict=True):
        assert said in line
        assert not re.search(r"-{3}|─|│", line)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_characters_that_the_terminal_lacks_are_escaped(program: Path, encoding: str) -> None:
    done = run(str(program), "--number", "1", PYTHONIOENCODING=encoding)
    assert done.code == 0
    assert done.out == ("found ✓ \\ud800\n" if encoding == "utf-8" else "found \\u2713 \\ud800\n")
    assert run(str(program), "--help", PYTHONIOENCODING=encoding).code == 0


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(program: Path, shell: str) -> None:
    done = run(str(program), "--number", "1", shell=shell)
    assert done.code == 0
    assert ("found" in done.out, "warned" in done.err) == (">&-" not in shell.split(), "2>&-" not in shell.split())


TO_NOBODY, TO_ONE_LINE = "| true; exit ${PIPESTATUS[0]}", "| head -1"


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        (("--help",), ""),
        (("--help",), "1"),
        (("merge", "--help"), ""),
        (("envs", "--help"), ""),
        (("train", "--help"), "1"),
    ],
)
def test_a_reader_that_ends_early_is_no_error(words: tuple[str, ...], unbuffered: str) -> None:
    done = run("-m", "eval", *words, shell=TO_NOBODY, PYTHONUNBUFFERED=unbuffered)
    assert (done.code, done.err) == (0, "")


def test_work_goes_on_when_the_reader_ends(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from simscaleai.command_line import make_streams_safe
make_streams_safe()
for number in range(20):
    print("line", number, flush=True)
    time.sleep(0.02)
Path({str(tmp_path / "done")!r}).touch()
"""
    done = run("-c", code, shell=TO_ONE_LINE)
    assert (done.out, done.err) == ("line 0\n", "")
    assert (tmp_path / "done").exists()


COMMANDS = ["eval.rollout", "eval.collect", "eval.compare", "simscaleai.train", "simscaleai.data", "envs", "policies"]


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.parametrize("library", ["numpy", "tyro"])
def test_an_interrupt_while_a_library_loads_leaves_no_traceback(tmp_path: Path, module: str, library: str) -> None:
    (tmp_path / f"{library}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    words = [sys.executable, "-m", module, "--help"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode in (-signal.SIGINT, 0)  # 0: help needs no such library
    assert library == "numpy" or done.returncode == -signal.SIGINT


def test_a_program_of_others_keeps_its_interrupts() -> None:
    code = "import signal, simscaleai; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    for words in (("-c", code), ("-c", code, "-m", "eval.rollout")):
        assert run(*words).code == 0


def test_an_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import os; os.execv({0!r}, [{0!r}, *{1!r}])"
    check = "import signal, sys; sys.argv = ['simscale']; import simscaleai; from simscaleai.command_line import *\n"
    check += "raise_at_interrupt(); assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    assert run("-c", code.format(sys.executable, ["-c", check])).code == 0


def test_a_command_that_writes_can_be_interrupted_in_an_orderly_way() -> None:
    code = "import signal, sys; sys.argv = ['simscale']; import simscaleai; from simscaleai.command_line import *\n"
    code += "assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL; raise_at_interrupt()\n"
    code += "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    done = run("-c", code)
    assert done.code == 0, done.err


def test_a_command_ends_with_its_own_code_with_2_after_a_mistake_and_with_130_after_ctrl_c(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raising(error: BaseException) -> int:
        raise error

    assert exit_code(lambda: 1) == 1
    assert exit_code(lambda: raising(SimScaleError("expected a number"))) == 2
    assert exit_code(lambda: raising(FileNotFoundError(2, "No such file", "here"))) == 2
    assert exit_code(lambda: raising(KeyboardInterrupt()), "interrupted; all is kept") == 130
    found = capsys.readouterr()
    expected = ["error: expected a number", "error: cannot use here (No such file); give another path"]
    assert found.err.splitlines() == [*expected, "interrupted; all is kept"]
    assert found.out == ""
