"""The house holds: rooms import one way, files and functions stay small, what is public is documented."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hybrid_mmsa"

MAX_FILE_LINES = 300
MAX_ANALYZER_LINES = 150  # of code: the whole way of a post, readable at one sitting
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 8

# From the ground up: a room imports only from rooms of an earlier row, and freely inside itself.
ROWS = (
    ("types", "errors", "_version"),
    ("bundled",),
    ("metrics",),
    ("inputs",),
    ("encoders",),
    ("fusion",),
    ("calibration",),
    ("routing",),
    ("reasoning",),
    ("pooling",),
    ("explain",),
    ("adapters",),
    ("analysis",),
    ("analyzer",),
    ("hybrid_mmsa",),  # the package's own __init__: what users import
    ("data",),
    ("training",),
    ("evaluation",),
    ("serving",),
    ("cli",),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(ROWS) for room in rooms}

# What a room must know nothing of, although it stands below it.
MODELS = {"encoders", "fusion", "reasoning", "adapters", "analysis", "analyzer"}
IGNORANT_OF = {
    "bundled": {"types"},
    "inputs": {"metrics"},
    "fusion": {"inputs"},
    "calibration": MODELS - {"fusion"},  # whose softmax they share
    "routing": MODELS - {"fusion"},
    "reasoning": {"encoders", "fusion", "calibration", "routing"},
    "pooling": MODELS,
    "data": MODELS,
}

CORE_PACKAGES = {"numpy", "onnxruntime", "PIL", "pydantic", "rich", "safetensors", "tokenizers", "typer"}
STANDARD = sys.stdlib_module_names
# Only these rooms may touch torch; only these may name any heavy package at the top of a file.
TORCH = {"torch", "torchvision", "open_clip", "timm", "transformers", "peft", "accelerate", "bitsandbytes", "trl"}
TORCH_ROOMS = {"encoders", "reasoning", "training"}
HEAVY_ROOMS = {"training"}

FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def module_name(file: Path) -> str:
    return ".".join(part for part in file.relative_to(ROOT).with_suffix("").parts if part != "__init__")


MODULES = {module_name(file): file for file in FILES}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def absolute(node: ast.ImportFrom, file: Path) -> str:
    if not node.level:
        return node.module or ""
    package = module_name(file).split(".") if file.name == "__init__.py" else module_name(file).split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def imports(file: Path, node: ast.AST) -> Iterator[str]:
    """The modules that one import statement names; `from package import submodule` names the submodule."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = absolute(node, file)
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            yield submodule if submodule in MODULES else base


def own_imports(file: Path) -> set[str]:
    """The package's own modules that a file imports anywhere, lazily and for typing too."""
    found = {name for node in ast.walk(TREES[file]) for name in imports(file, node)}
    return {name for name in found if name in MODULES and name != module_name(file)}


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, those under `if TYPE_CHECKING` left out."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                waiting += node.body
            waiting += node.orelse
        elif isinstance(node, ast.Try):
            waiting += [*node.body, *node.orelse, *node.finalbody, *(s for h in node.handlers for s in h.body)]
        elif isinstance(node, (ast.ClassDef, ast.With)):
            waiting += node.body
        else:
            yield node


def foreign(file: Path, nodes: Iterator[ast.AST]) -> set[str]:
    names = {name.split(".")[0] for node in nodes for name in imports(file, node)}
    return names - STANDARD - {"hybrid_mmsa"}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", node


def public_definitions(body: list[ast.stmt], owner: str) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield f"{owner}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{owner}.{node.name}")


def test_every_module_belongs_to_a_known_room():
    unknown = sorted(name for name in MODULES if room(name) not in RANK)
    assert not unknown, "rooms are fixed by design; these stand outside of them"


def test_rooms_import_one_way():
    wrong = [
        f"{module} imports {name}"
        for module, file in MODULES.items()
        for name in own_imports(file)
        if room(name) != room(module) and RANK[room(name)] > RANK[room(module)]
    ]
    assert not wrong


def test_rooms_know_nothing_of_what_is_not_theirs():
    wrong = [
        f"{module} imports {name}"
        for module, file in MODULES.items()
        for name in own_imports(file)
        if room(name) in IGNORANT_OF.get(room(module), set())
    ]
    assert not wrong


def test_no_import_cycles():
    graph = {module: own_imports(file) for module, file in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1]))


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_torch_stays_in_its_rooms(file):
    used = foreign(file, ast.walk(TREES[file])) & TORCH
    assert not used or room(module_name(file)) in TORCH_ROOMS, f"uses {used}"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_importing_outside_the_heavy_rooms_needs_the_light_core_only(file):
    heavy = foreign(file, top_level(TREES[file])) - CORE_PACKAGES
    # An encoder or reasoner of its own file may name its library at the top: its room's `__init__` does not import it.
    apart = room(module_name(file)) in {"encoders", "reasoning"} and not imported_by_its_room(file)
    assert not heavy or apart or room(module_name(file)) in HEAVY_ROOMS, f"names {heavy} at the top of the file"


def imported_by_its_room(file: Path) -> bool:
    """Whether importing the room (its `__init__`) imports this file as well."""
    reached, waiting = set(), [f"hybrid_mmsa.{room(module_name(file))}"]
    while waiting:
        module = waiting.pop()
        if module not in reached and module in MODULES:
            reached.add(module)
            source = MODULES[module]
            waiting += [name for node in top_level(TREES[source]) for name in imports(source, node)]
    return module_name(file) in reached


def test_files_are_short():
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES}


def test_the_analyzer_is_read_at_one_sitting():
    source = (PACKAGE / "analyzer.py").read_text(encoding="utf-8")
    described = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            described |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    code = [n for n, line in enumerate(source.splitlines(), 1) if line.strip() and n not in described]
    assert len(code) < MAX_ANALYZER_LINES


def test_functions_are_short():
    lengths = {where: (node.end_lineno or node.lineno) - node.lineno + 1 for where, node in functions()}
    assert not {where: lines for where, lines in lengths.items() if lines > MAX_FUNCTION_LINES}


def test_functions_take_few_parameters():
    counts = {}
    for where, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        counts[where] = len([a for a in arguments if a.arg not in {"self", "cls"}])
    assert not {where: count for where, count in counts.items() if count > MAX_PARAMETERS}


def test_every_parameter_is_annotated():
    bare = []
    for where, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        bare += [f"{where}({a.arg})" for a in arguments if a and not a.annotation and a.arg not in {"self", "cls"}]
    assert not bare


def test_every_module_opens_with_a_sentence():
    silent = [
        module
        for module, file in MODULES.items()
        if not re.match(r"\S.*[.:]", (ast.get_docstring(TREES[file]) or "").split("\n\n")[0], re.DOTALL)
    ]
    assert not silent


def test_what_is_public_is_documented():
    bare = [
        name
        for module, file in MODULES.items()
        for name, node in public_definitions(TREES[file].body, module)
        if not ast.get_docstring(node) and not is_field_access(node)
    ]
    assert not bare


def is_field_access(node: ast.stmt) -> bool:
    """Property setters and overloads share the docstring of the function they belong to."""
    decorators = [ast.unparse(d) for d in getattr(node, "decorator_list", [])]
    return any(d.endswith((".setter", "overload")) for d in decorators)


def test_validation_is_not_left_to_assert():
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert not found


def test_no_file_is_left_half_done():
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|HACK|stub|placeholder|dummy)\b", re.IGNORECASE)
    found = [
        f"{file.relative_to(ROOT)}:{number} {line.strip()}"
        for file in FILES
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if unfinished.search(line)
    ]
    assert not found


def test_contributing_maps_every_file():
    """CONTRIBUTING gives each file of the package one line: its opening sentence. `make map` writes it."""
    command = [sys.executable, str(ROOT / ".ci" / "filemap"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
