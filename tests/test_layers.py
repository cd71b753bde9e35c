"""Who may import whom, what starts fast, and how long functions and files may be."""

import ast
import statistics
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "simscaleai", "policies", "eval")
BESIDE_THE_PACKAGES = ("benchmarks", "examples", "integrations", "tests")

GROUND_FLOOR = tuple(
    f"simscaleai.{name}"
    for name in (
        *("assets", "command_line", "contract", "errors", "extensions", "files", "hosting", "json_data"),
        "perturbation",
        "srgb",
    )
)

MAY_IMPORT = {
    **dict.fromkeys(GROUND_FLOOR, GROUND_FLOOR),
    "envs": ("envs", *GROUND_FLOOR),
    "simscaleai": ("simscaleai",),
    "policies.scripted": ("policies", "simscaleai", "envs.tabletop.names"),
    "policies.serve": ("policies", "simscaleai", "envs.registration"),
    "policies": ("policies", "simscaleai"),
    "eval": ("eval", "policies", "simscaleai", "envs"),
}
"""Prefix of a module to the prefixes of our own modules that it may import; the longest prefix counts."""

THIRD_PARTY = {
    **dict.fromkeys(GROUND_FLOOR, ("numpy", "tyro")),
    "envs": ("numpy", "gymnasium", "mujoco", "OpenGL", "PIL"),
    "envs.foreign.gym_slot": ("numpy", "gym_spaces"),  # its neighbour, as a host finds it
    "envs.foreign.suites": (
        "numpy",
        "gymnasium",
        "mujoco",
        "gym_pusht",
        "gymnasium_robotics",
        "libero",
        "robosuite",
        "metaworld",
    ),
    "simscaleai.data.minari": ("numpy", "tqdm", "h5py", "minari", "gymnasium"),
    "simscaleai": (
        "numpy",
        "torch",
        "safetensors",
        "tqdm",
        "tyro",
        "tensorboard",
        "pyarrow",
        "PIL",
        "imageio_ffmpeg",
        "h5py",
    ),
    "policies": ("numpy",),
    "policies.learned": ("numpy", "torch"),
    "policies.foreign.openpi": ("numpy", "PIL", "msgpack", "websockets"),
    "policies.serving": ("numpy", "websockets"),
    "eval": ("numpy", "tyro", "tqdm", "imageio", "imageio_ffmpeg", "jinja2", "scipy", "PIL", "ray", "rerun"),
}
"""Prefix of a module to the libraries that it may import; the longest prefix counts."""

COMMAND_MODULES = ("rollout", "robustness", "collect", "record", "merge", "compare", "validate", "diagnose", "__main__")
WINGS = {
    "statistics": (),
    "episodes": ("statistics",),
    "runs": ("episodes", "statistics"),
    "observers": ("runs", "episodes", "statistics"),
    "probing": ("runs", "episodes", "statistics"),
    "demonstrations": ("probing", "observers", "runs", "episodes", "statistics"),
    "execution": ("demonstrations", "probing", "observers", "runs", "episodes", "statistics"),
    "comparison": ("runs", "episodes", "statistics"),
    "battery": ("comparison", "runs", "episodes", "statistics"),
    "merging": ("battery", "comparison", "runs", "episodes", "statistics"),
    "diagnosis": ("episodes", "statistics"),
    "terminal": ("runs", "episodes", "statistics"),
    "report": ("terminal", "battery", "comparison", "runs", "episodes", "statistics"),
    "view": ("report", "terminal", "battery", "comparison", "runs", "episodes", "statistics"),
}
"""Wing of `eval` to the wings below it. Commands may import everything."""

MAY_ALSO_IMPORT = {"eval.observers.progress": ("terminal",), "eval.view.rows": ("observers",)}

MOST_FILES_IN_A_FOLDER = 12
LONGEST_CHAIN = 7

ONLY_LAZILY = {
    *("torch", "mujoco", "scipy", "pyarrow", "h5py", "minari", "PIL", "msgpack", "websockets", "ray", "rerun", "tyro")
}
"""Slow libraries that starting a command or listing names must not load; some commands load tyro for their flags."""

COMMANDS = (
    *(
        "eval.rollout",
        "eval.robustness",
        "eval.collect",
        "eval.record",
        "eval.merge",
        "eval.validate",
        "eval.compare",
        "eval.diagnose",
        "eval.report.__main__",
        "eval.view.__main__",
    ),
    *("simscaleai.train", "simscaleai.data.__main__", "envs.__main__", "policies.__main__", "policies.serve"),
)


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def own_modules():
    return {module_name(path): path for package in PACKAGES for path in sources(package)}


@cache
def imported_modules(path):
    """Return every module imported anywhere in the file, also within functions and for type checking."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from envs import slots` imports envs.slots as much as `import envs.slots` does.
            names = {f"{node.module}.{alias.name}" for alias in node.names} & own_modules().keys()
            found.update(names or {node.module})
        elif isinstance(node, ast.Call):
            found.update(named_in_call(node))
    return found


def named_in_call(node):
    """Return the module of ours that a call such as `import_module("envs")` imports, in a set."""
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if function not in ("import_module", "__import__") or not node.args or not isinstance(node.args[0], ast.Constant):
        return set()
    return {node.args[0].value} & own_modules().keys()


@cache
def graph():
    """Return each of our modules with our modules that it imports."""
    return {
        name: {module for module in imported_modules(path) if module in own_modules() and module != name}
        for name, path in own_modules().items()
    }


def longest_prefix(module, table):
    """Return the entry of `table` for the longest prefix of `module`."""
    prefixes = [prefix for prefix in table if module == prefix or module.startswith(f"{prefix}.")]
    return table[max(prefixes, key=len)]


def test_import_table():
    wrong = [
        f"{name} imports {module}"
        for name, modules in graph().items()
        for module in modules
        if not any(module == prefix or module.startswith(f"{prefix}.") for prefix in longest_prefix(name, MAY_IMPORT))
    ]
    assert wrong == []


def test_third_party_table():
    wrong = [
        f"{name} imports {module}"
        for name, path in own_modules().items()
        for module in imported_modules(path)
        if module.split(".")[0] not in {*sys.stdlib_module_names, *PACKAGES}
        if module.split(".")[0] not in longest_prefix(name, THIRD_PARTY)
    ]
    assert wrong == []


def wing(module):
    """Return the wing of a module of `eval`, or "" for a command."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in WINGS else ""


def test_arrows_between_wings_run_one_way():
    wrong = []
    for name, modules in graph().items():
        own = wing(name)
        if not name.startswith("eval.") or not own:
            continue
        allowed = {own, *WINGS[own], *MAY_ALSO_IMPORT.get(name, ())}
        wrong += [
            f"{name} imports {module}"
            for module in modules
            if module.startswith("eval") and wing(module) not in allowed
        ]
    assert wrong == []


def test_there_is_no_circle():
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_the_longest_chain_of_imports_inside_eval():
    inside = {
        name: {m for m in modules if m.startswith("eval.")} for name, modules in graph().items() if name[:5] == "eval."
    }
    chains = {}
    for name in TopologicalSorter(inside).static_order():
        chains[name] = [name, *max((chains[module] for module in inside.get(name, ())), key=len, default=[])]
    longest = max(chains.values(), key=len)
    assert len(longest) <= LONGEST_CHAIN, " → ".join(longest)


def test_no_folder_is_crowded():
    folders = {path.parent for package in (*PACKAGES, *BESIDE_THE_PACKAGES) for path in sources(package)}
    crowded = {
        str(f.relative_to(ROOT)): n for f in folders if (n := len(list(f.glob("*.py")))) > MOST_FILES_IN_A_FOLDER
    }
    assert crowded == {}


def test_slow_libraries_are_imported_where_they_are_used():
    """One process imports all of them: what none of them loads, each of them alone does not load either."""
    others = ["eval.__main__", "envs", "envs.slots", "policies.base", "policies.registry", "simscaleai.models"]
    code = f"""
import sys
from importlib import import_module
for module in {[*others, *COMMANDS]}:
    import_module(module)
    allowed = {{"tyro"}} if module in {COMMANDS} else set()
    print(module, *sorted({ONLY_LAZILY} & sys.modules.keys() - allowed))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*others, *COMMANDS]


def function_lengths():
    """Yield (lines without the docstring, where) of every function of the packages."""
    for name, path in own_modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                yield lines, f"{name}:{node.lineno} {node.name}"


def test_functions_are_short():
    lengths = sorted(function_lengths(), reverse=True)
    worst = "\n".join(f"{lines:4} {where}" for lines, where in lengths[:10])
    counts = [lines for lines, _ in lengths]
    assert counts[0] <= 60, worst
    assert statistics.quantiles(counts, n=10)[-1] <= 25, worst
    assert statistics.median(counts) <= 8, worst


def test_files_are_short():
    lengths = {name: len(path.read_text().splitlines()) for name, path in own_modules().items()}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
