"""The shape of the package: lower layers never import higher ones, neighbours keep apart."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import llmgate

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "llmgate"
LAYERS = [
    {"types", "errors"},
    {"resources", "registry", "styles", "repair", "validation", "grammar", "config"},
    {"wrappers", "backends", "storage"},
    {"gateway", "memory", "wire", "discovery"},
    {"agent", "loaders", "bench", "batch"},
    {"server", "cli"},
]
APART = {"wrappers", "backends", "storage"}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path):
    """The parts of llmgate that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
            if node.module == "llmgate":
                modules = [f"llmgate.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            if module.startswith("llmgate."):
                yield module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    for other in set(imported_parts(path)) - {part, "__version__"}:
        assert LEVEL[other] <= LEVEL[part], f"{part} imports {other}, which is above it"
        if LEVEL[other] == LEVEL[part]:
            assert not {part, other} <= APART, f"{part} imports its neighbour {other}"


def test_every_part_has_its_layer():
    assert {part_of(path) for path in FILES} - {"__init__", "__main__"} <= set(LEVEL)


def test_only_config_reads_the_environment():
    readers = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if re.search(r"\bos\.environ|\bgetenv", path.read_text(encoding="utf-8"))
    }
    assert readers == {"config/places.py"}


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == llmgate.__version__
    assert f"## {llmgate.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", llmgate.__all__)
def test_every_public_name_is_there(name):
    assert getattr(llmgate, name) is not None


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = llmgate.nothing


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        (
            "import llmgate",
            "msgspec jinja2 httpx click starlette jsonschema_rs json_repair asyncio",
        ),
        ("import llmgate.cli", "msgspec jinja2 httpx starlette jsonschema_rs json_repair asyncio"),
        ("import llmgate.gateway, llmgate.server.app", "llama_cpp openai click numpy json_repair"),
    ],
)
def test_what_is_heavy_is_imported_at_first_use(statement, unwanted):
    code = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not set(unwanted.split()) & set(loaded)
