"""The house: who imports whom, what is committed, and what the editor's configurations ask for."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = {
    "run", "analyze_cartography", "extract_embeddings", "cluster_analysis", "analyze_dataset", "find_label_errors",
    "apply_corrections", "audit_dataset", "compare_runs",
    "select_examples",
}  # fmt: skip
PARSERS = {"run": "datamap.options.arguments"}  # of scripts whose parser has a module of its own
MODULES = {path.stem: path for path in ROOT.glob("*.py")}
BESIDE = {"helpers", "cartography_callback"}
# The rooms in their order, each with the rooms that it may import: a new arrow is a decision.
ROOMS = {
    "errors": set(),
    "files": {"errors"},
    "demo": {"errors"},
    "data": {"demo", "errors", "files"},
    "options": {"data", "errors", "files"},
    "dynamics": {"data", "errors", "files"},
    "features": {"errors", "files", "options"},
    "clusters": {"dynamics", "errors", "files"},
    "evaluation": {"data", "errors", "features", "files"},
    "audit": {"data", "errors", "evaluation", "files"},
    "training": {"data", "errors", "evaluation", "features", "files", "options"},
    "crossfit": {"data", "dynamics", "errors", "evaluation", "features", "files", "options", "training"},
    "embeddings": {"errors", "features", "files", "options", "training"},
    "joint": {"clusters", "data", "dynamics", "errors", "evaluation", "files"},
    "labels": {"data", "dynamics", "errors", "evaluation", "files"},
    "selection": {"data", "dynamics", "errors", "files", "joint"},
    "report": {"clusters", "dynamics", "files", "joint"},
}


def imported_by(path: Path) -> set[str]:
    """The rooms and top-level modules of the suite that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"datamap.{alias.name}" for alias in node.names] if node.module == "datamap" else []
            names = inside or [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] if name.startswith("datamap.") else name.split(".")[0] for name in names}
    return found & (MODULES.keys() | ROOMS.keys())


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "datamap").parts[0].removesuffix(".py")


PACKAGE = [
    path for path in (ROOT / "datamap").rglob("*.py") if path.parent != ROOT / "datamap" or path.stem == "errors"
]


def test_tests_lie_in_folders_named_after_rooms_and_stay_short():
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path.name.startswith("test_")]
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in paths if path.parent != ROOT / "tests"}
    assert folders == ROOMS.keys() - {"errors"} | {"scripts"}
    assert [path.name for path in paths if len(path.read_text(encoding="utf-8").splitlines()) > 450] == []


def test_the_top_level_holds_scripts_and_the_two_modules_beside_them():
    assert MODULES.keys() == SCRIPTS | BESIDE


def test_every_room_is_known_and_says_what_it_owns():
    assert {room_of(path) for path in PACKAGE} == ROOMS.keys()
    for room in ROOMS.keys() - {"errors"}:
        (docstring,) = ast.parse((ROOT / "datamap" / room / "__init__.py").read_text(encoding="utf-8")).body
        assert ast.literal_eval(docstring.value)


def test_rooms_import_the_rooms_below_them_that_are_listed():
    found = {room: set() for room in ROOMS}
    for path in PACKAGE:
        found[room_of(path)] |= imported_by(path) - {room_of(path)}
    assert found == ROOMS
    order = list(ROOMS)
    assert [room for room in order if not ROOMS[room] <= set(order[: order.index(room)])] == []


def test_no_module_imports_a_script():
    importers = {name for name, path in MODULES.items() if imported_by(path) & (SCRIPTS - {name})}
    assert importers == set()


def modules_of(room: str) -> dict[str, set[str]]:
    """The modules of a room that each of its modules imports."""
    found = {}
    for path in (ROOT / "datamap" / room).glob("*.py"):
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == f"datamap.{room}":
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"datamap.{room}."):
                targets.add(node.module.split(".")[2])
        found[path.stem] = targets
    return found


@pytest.mark.parametrize("room", sorted(ROOMS.keys() - {"errors"}))
def test_imports_within_a_room_run_downwards_without_circles(room):
    left = modules_of(room)
    assert len(left) > 1
    while left:
        leaves = {name for name, targets in left.items() if not targets & left.keys()}
        assert leaves, f"a circle among {sorted(left)}"
        left = {name: targets for name, targets in left.items() if name not in leaves}


def test_metrics_lie_at_the_bottom():
    assert imported_by(ROOT / "datamap" / "evaluation" / "metrics.py") == set()
    assert modules_of("evaluation")["metrics"] == set()


def heavy_top_level_imports(path: Path) -> set[str]:
    allowed = set(sys.stdlib_module_names) | MODULES.keys() | {"datamap"}
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found - allowed


@pytest.mark.parametrize("script", sorted(SCRIPTS & MODULES.keys()))
def test_help_needs_the_standard_library_alone(script):
    """`--help` works in an interpreter that sees no installed package, so it imports nothing heavy."""
    parser = PARSERS.get(script, script)
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {script}, {parser}; "
    program += f"{parser}.build_parser().print_help()"
    command = [sys.executable, "-S", "-I", "-c", program]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert {"--dataset", "--runs", "--arms"} & set(re.findall(r"--\w+", answer.stdout))
    paths = MODULES[script], ROOT / f"{parser.replace('.', '/')}.py"
    assert [path for path in paths if heavy_top_level_imports(path)] == []


def tracked_files() -> list[Path]:
    answer = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    return [ROOT / name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_tables_are_read_by_one_function():
    """pandas takes words such as "NA" for missing values; `outputs.read_csv` does not."""
    modules = [path for path in tracked_files() if path.suffix == ".py" and "tests" not in path.parts]
    readers = [path.name for path in modules if "pd.read_csv" in path.read_text(encoding="utf-8")]
    assert readers == ["outputs.py"]


def test_no_package_index_is_recorded():
    files = tracked_files()
    assert ROOT / "pyproject.toml" in files
    locks = [path for path in files if path.suffix == ".lock" or path.name.startswith("requirements")]
    assert [path for path in locks if "://" in path.read_text(encoding="utf-8")] == []
    uv = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    assert not {"index", "index-url", "extra-index-url", "find-links", "sources"} & uv.keys()
    setting = re.compile(r"^\s*(index-url|extra-index-url|index_url|find-links)\s*=", re.MULTILINE)
    configurations = [path for path in files if path.suffix in {".toml", ".cfg", ".ini", ".conf", ".yml", ".yaml"}]
    assert [path for path in configurations if setting.search(path.read_text(encoding="utf-8"))] == []


def test_dependencies_are_in_alphabetical_order():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    for dependencies in lists:
        assert dependencies == sorted(dependencies)


def test_every_direct_dependency_is_pinned_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    pins = re.findall(
        r"(?m)^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8")
    )
    versions = {}
    for name, version in pins:  # a package may have one version a platform
        versions.setdefault(name, set()).add(version)
    for dependency in [*project["project"]["dependencies"], *groups["demo"], *groups["dev"]]:
        wanted = Requirement(dependency)
        assert versions[wanted.name], dependency
        assert [version for version in versions[wanted.name] if version not in wanted.specifier] == [], dependency


def test_the_readme_installs_the_pinned_versions_without_uv():
    assert ".venv/bin/pip install -r requirements.txt" in README


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """(script, arguments) of a page's indented commands."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    words = [shlex.split(line) for line in lines if re.match(r"(uv run|python|torchrun)( --\S+ \d+)? \w+\.py", line)]
    places = [next(place for place, word in enumerate(line) if word.endswith(".py")) for line in words]
    return [(line[place].removesuffix(".py"), line[place + 1 :]) for line, place in zip(words, places, strict=True)]


def test_links_between_pages_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))]
    local = [(page.name, link) for page, link in links if not re.match(r"https?:", link)]
    assert len(local) > 10
    assert [
        (name, link)
        for name, link in local
        if not any(
            (folder / link).exists()
            for folder in ((ROOT,) if name in ("README.md", "CONTRIBUTING.md") else (ROOT / "docs",))
        )
    ] == []


def test_the_readme_shows_every_script():
    assert {script for script, _ in commands_of(README)} == SCRIPTS & MODULES.keys()


def page_commands() -> list[tuple[str, list[str]]]:
    """The commands of the README and of all pages beside it."""
    pages = [README, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))]
    found = [command for page in pages for command in commands_of(page)]
    return [command for command in found if command[0] in SCRIPTS]


@pytest.mark.parametrize(("script", "argv"), page_commands(), ids=lambda part: str(part)[:60])
def test_the_pages_commands_are_understood_by_the_parser(script, argv):
    from importlib import import_module

    argv = [word.replace("$train", "none").replace("$eval", "none") for word in argv]
    assert import_module(script).parse_arguments(argv) is not None


def test_ci_runs_the_readmes_test_command():
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert steps[-1].removeprefix("OMP_NUM_THREADS=1 ").startswith("uv run pytest")
    assert "    uv run pytest" in README.splitlines()


def launch_configurations() -> list[dict]:
    return json.loads((ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8"))["configurations"]


def test_every_script_has_a_launch_configuration():
    programs = {Path(configuration["program"]).stem for configuration in launch_configurations()}
    assert programs == SCRIPTS & MODULES.keys()


@pytest.mark.parametrize("configuration", launch_configurations(), ids=lambda configuration: configuration["name"])
def test_launch_arguments_are_understood_by_the_scripts_own_parser(configuration):
    from importlib import import_module

    script = import_module(Path(configuration["program"]).stem)
    script.parse_arguments(configuration["args"])
    assert any(word.endswith("_dir") for word in configuration["args"])
