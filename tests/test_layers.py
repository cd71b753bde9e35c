"""Who may import whom, what starts fast, and how long functions and files may be."""

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "envs": {"envs"},
    "simscaleai": {"simscaleai"},
    "policies": {"policies", "simscaleai", "envs.interface"},
    "eval": {"eval", "policies", "simscaleai", "envs"},
}
"""Package to the prefixes of our own modules that it may import."""

THIRD_PARTY = {
    "envs": {"numpy", "gymnasium", "mujoco", "OpenGL", "PIL"},
    "simscaleai": {"numpy", "torch", "safetensors", "tqdm", "tyro", "tensorboard", "pyarrow", "PIL", "imageio_ffmpeg"},
    "policies": {"numpy", "torch"},
    "eval": {"numpy", "gymnasium", "tyro", "tqdm", "imageio", "imageio_ffmpeg", "jinja2", "scipy", "PIL"},
}
"""Package to the libraries that it may import."""

ONLY_LAZILY = {"torch", "mujoco", "scipy", "pyarrow", "PIL"}
"""Slow libraries that starting a command or listing names must not load."""

COMMANDS = (
    *("eval.rollout", "eval.collect", "eval.record", "eval.report.__main__"),
    *("simscaleai.train", "simscaleai.data.__main__", "envs.__main__", "policies.__main__"),
)


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported_modules(path):
    """Yields every module imported anywhere in the file, also within functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from envs import interface` imports envs.interface as much as `import envs.interface` does.
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (submodules if node.module in MAY_IMPORT else [node.module])


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_import_table(package):
    allowed = MAY_IMPORT[package] | THIRD_PARTY[package]
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(package)
        for module in imported_modules(path)
        if module.split(".")[0] not in sys.stdlib_module_names or module.split(".")[0] in MAY_IMPORT
        if not any(module == prefix or module.startswith(f"{prefix}.") for prefix in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "module",
    [*COMMANDS, "eval.__main__", "envs", "policies.registry", "simscaleai.models"],
)
def test_slow_libraries_are_imported_where_they_are_used(module):
    code = f"import sys, {module}; print(sorted({ONLY_LAZILY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def function_lengths():
    """Yields (lines without the docstring, where) of every function of the packages."""
    for package in MAY_IMPORT:
        for path in sources(package):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    body = node.body[1:] if ast.get_docstring(node) else node.body
                    lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                    yield lines, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def test_functions_are_short():
    lengths = sorted(function_lengths(), reverse=True)
    worst = "\n".join(f"{lines:4} {where}" for lines, where in lengths[:10])
    counts = [lines for lines, _ in lengths]
    assert counts[0] <= 60, worst
    assert statistics.quantiles(counts, n=10)[-1] <= 25, worst
    assert statistics.median(counts) <= 8, worst


def test_files_are_short():
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for p in MAY_IMPORT for path in sources(p)}
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}
