"""What benchmarks import from this project exists. Many of them run only before a release, with packages of others."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("benchmarks", "envs", "eval", "policies", "simscaleai", "tests")
BENCHMARKS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "benchmarks").rglob("*.py"))]


def imported(path):
    """Yield module and name, or module and None, of what a file imports from this project."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        yield from (each for each in found if each[0].split(".")[0] in OURS)


def source(module):
    """Return the file of a module, or None."""
    folder = ROOT.joinpath(*module.split("."))
    candidates = (folder.with_suffix(".py"), folder / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def names(path):
    """Return the names that a file defines or imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_what_it_imports_exists(benchmark):
    for module, name in imported(ROOT / benchmark):
        path = source(module)
        assert path, module
        assert name is None or source(f"{module}.{name}") or name in names(path), f"{module}: {name}"
