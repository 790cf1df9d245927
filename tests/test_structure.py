"""The house holds: rooms and their sub-rooms import one way and stay small, what is public is documented.

The linter holds complexity, docstrings and assertions. What is printed and never fails: `make house`.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hybrid_mmsa"

MAX_ROOM_FILES = 20
MAX_FUNCTION_LINES = 60

# From the ground up: a room imports only from rooms of an earlier row, and freely inside itself.
ROWS = (
    ("types", "errors", "_version"),
    ("bounds", "deprecation", "foreign", "forks", "privacy", "products"),
    ("artefacts", "bundled", "extras", "onnx", "plugins"),
    ("metrics", "search"),
    ("inputs",),
    ("encoders",),
    ("fusion",),
    ("calibration",),
    ("routing",),
    ("explain",),
    ("reasoning",),
    ("pooling",),
    ("senses",),
    ("adapters",),
    ("model",),
    ("analysis",),
    ("analyzer",),
    ("testing",),
    ("data",),
    ("training",),
    ("integrations",),
    ("hybrid_mmsa",),  # the package's own __init__: what users import
    ("evaluation",),
    ("engines",),
    ("watch", "video"),
    ("serving",),
    ("client", "cli"),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(ROWS) for room in rooms}

# Inside a room with sub-rooms the same holds, and those of one row know nothing of each other. Files at the room's top
# stand in the row that they are named in; the room's `__init__` stands above all rows.
SUBROOMS = {
    "reasoning": (("base", "config"), ("prompt",), ("hiding",), ("backends",), ("models",), ("deferred", "budget")),
    "training": (
        ("common",),
        ("posts",),
        ("towers", "routing"),
        ("heads",),
        ("space", "answers"),
        ("lora",),
        ("fitting", "vlm"),
    ),
    "cli": (("terminal",), ("commands",)),
}
SUBRANK = {(room, subroom): rank for room, rows in SUBROOMS.items() for rank, row in enumerate(rows) for subroom in row}

# What a room must know nothing of, although it stands below it.
MODELS = {"encoders", "fusion", "reasoning", "adapters", "model", "analysis", "analyzer"}
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

CORE_PACKAGES = {
    "charset_normalizer",
    "clevercsv",
    "emoji",
    "ftfy",
    "ijson",
    "numpy",
    "onnxruntime",
    "openpyxl",
    "PIL",
    "pydantic",
    "rich",
    "safetensors",
    "typer",
}
STANDARD = sys.stdlib_module_names
# Only these rooms may touch torch; only these may name any heavy package at the top of a file.
TORCH = {"torch", "torchvision", "open_clip", "timm", "transformers", "peft", "accelerate", "bitsandbytes", "trl"}
TORCH_ROOMS = {"encoders", "integrations", "reasoning", "training"}
HEAVY_ROOMS = {"training"}

FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def module_name(file: Path) -> str:
    return ".".join(part for part in file.relative_to(ROOT).with_suffix("").parts if part != "__init__")


MODULES = {module_name(file): file for file in FILES}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def subroom(module: str) -> tuple[str, str]:
    """The room and the sub-room of a module, or the name of a file at the room's top; "" for the room's `__init__`."""
    parts = module.split(".")
    return room(module), parts[2] if len(parts) > 2 else ""


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


def test_subrooms_import_one_way():
    wrong = []
    for module, file in MODULES.items():
        for name in own_imports(file):
            (own, here), (other, there) = subroom(module), subroom(name)
            inside = own == other and own in SUBROOMS and here and here != there
            if inside and (not there or SUBRANK[other, there] >= SUBRANK[own, here]):
                wrong.append(f"{module} imports {name}")
    assert not wrong


def test_every_module_belongs_to_a_known_subroom():
    places = {subroom(module) for module in MODULES if room(module) in SUBROOMS}
    assert sorted(place for place in places if place[1] and place not in SUBRANK) == []


def test_rooms_are_small():
    counts = Counter(file.parent.relative_to(ROOT) for file in FILES if file.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > MAX_ROOM_FILES} == {}


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
    # What has a file of its own may name its library at the top: its room's `__init__` does not import it.
    apart = room(module_name(file)) in {
        "encoders",
        "integrations",
        "reasoning",
        "serving",
    } and not imported_by_its_room(file)
    assert not heavy or apart or room(module_name(file)) in HEAVY_ROOMS, f"names {heavy} at the top of the file"


def imported_by_its_room(file: Path) -> bool:
    """Whether importing the room (its `__init__`) imports this file as well."""
    return module_name(file) in reached_by([f"hybrid_mmsa.{room(module_name(file))}"])


def reached_by(modules: Iterable[str]) -> set[str]:
    """These modules and those of ours that they import when they are imported."""
    reached, waiting = set(), list(modules)
    while waiting:
        module = waiting.pop()
        if module in MODULES and module not in reached:
            reached.add(module)
            source = MODULES[module]
            waiting += [name for node in top_level(TREES[source]) for name in imports(source, node)]
    return reached


def test_functions_are_short():
    lengths = {where: (node.end_lineno or node.lineno) - node.lineno + 1 for where, node in functions()}
    assert not {where: lines for where, lines in lengths.items() if lines > MAX_FUNCTION_LINES}


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
