import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "longtail").rglob("*.py"))
MOST_LINES, MOST_BODY_LINES = 300, 40


def name(path):
    return path.as_posix()


def imported(path):
    """Return the first part of the name of everything that a module imports."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            found.add(str(node.module).split(".")[0])
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {str(arg.value).split(".")[0] for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def body_lines(function):
    """Return how many lines a function has after its docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__init__.py"], ids=name)
def test_module_has_its_mirror_test(path):
    mirror = ROOT / "tests" / path.parent / f"test_{path.name}"
    assert mirror.is_file(), f"write {mirror.relative_to(ROOT)}"


def test_test_file_has_its_module():
    beside = {"test_layout.py", "test_presets.py", "test_promises.py", "test_peers.py"}
    for path in (ROOT / "tests" / "longtail").rglob("test_*.py"):
        if path.name not in beside:
            module = ROOT / path.relative_to(ROOT / "tests").with_name(path.name.removeprefix("test_"))
            assert module.is_file(), f"{path.relative_to(ROOT)} tests no module"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_layers(path):
    """The library knows neither the orchestrator nor what is built on the library; one package tracks."""
    forbidden = {"kfp", "components", "pipelines", "benchmarks", "tests"}
    if path.parts[1] != "tracking":
        forbidden.add("mlflow")
    assert not imported(path) & forbidden


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_sizes(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    long = {
        node.name: body_lines(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and body_lines(node) > MOST_BODY_LINES
    }
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_is_pickled(path):
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and "weights_only=True" not in map(ast.unparse, node.keywords)
    }
    assert not calls & {"torch.load", "torch.save"}
    assert not imported(path) & {"pickle", "joblib", "dill"}
