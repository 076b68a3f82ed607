"""The shape of the code: documented modules of a readable size, and no circles of imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("chain", "contracts", "notifier", "watcher")

#: Lines of a module, at most. Migrations are frozen.
MAX_LINES = 450


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield path


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports, also within functions and for types only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_docstring() -> None:
    """An empty ``__init__`` needs none."""
    without = [
        name_of(path)
        for path in modules()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert without == []


def test_no_module_is_longer_than_the_limit() -> None:
    lines = {
        name_of(path): len(path.read_text().splitlines())
        for path in modules()
        if "versions" not in path.parts
    }
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_no_two_modules_import_each_other() -> None:
    """Nor any longer circle, not even for types."""
    trees = {name_of(path): ast.parse(path.read_text()) for path in modules()}
    imports = {name: set(imported(tree)) & trees.keys() - {name} for name, tree in trees.items()}
    # A package may gather what its modules offer, and they may name the package.
    packages = {name_of(path) for path in modules() if path.name == "__init__.py"}
    imports = {name: found - packages for name, found in imports.items() if name not in packages}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(imports[name]):
                visit(other, (*path, name))
            done.add(name)

    for name in sorted(imports):
        visit(name, ())
