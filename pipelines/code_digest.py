"""What code a step depends on, as a digest for the cache."""

import ast
import hashlib
import importlib.util
from functools import cache
from importlib.metadata import version
from pathlib import Path

_ROOT = "longtail"
_LIBRARIES = ("numpy", "pillow", "scikit-learn", "scipy", "torch", "torchvision")


def code_digest(step: str) -> str:
    """Return the SHA-256 of all source that a step can reach, and of the versions of the libraries it computes with.

    Imports are followed from the step's module through the `longtail` package, those inside functions too.
    """
    digest = hashlib.sha256()
    for name in _LIBRARIES:
        digest.update(f"{name}=={version(name)}\n".encode())
    for module in sorted(_reachable(f"{_ROOT}.steps.{step}")):
        digest.update(module.encode() + b"\0" + _source(module).read_bytes() + b"\0")
    return digest.hexdigest()


def _reachable(start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(_imports(module))
            waiting.extend(parent for parent in (module.rpartition(".")[0],) if parent)
    return found


@cache
def _imports(module: str) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(_source(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(name for name in names if name.split(".")[0] == _ROOT and _is_module(name))


@cache
def _is_module(name: str) -> bool:
    parent, _, last = name.rpartition(".")
    if not parent:
        return name == _ROOT
    folder = _source(parent).parent
    is_package = _source(parent).name == "__init__.py"
    return is_package and ((folder / f"{last}.py").is_file() or (folder / last / "__init__.py").is_file())


@cache
def _source(module: str) -> Path:
    """Return a module's file, found without importing it."""
    root = importlib.util.find_spec(_ROOT)
    assert root is not None and root.origin is not None
    path = Path(root.origin).parent.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
