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

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = {"run", "analyze_cartography", "extract_embeddings", "cluster_analysis", "analyze_dataset"}
PARSERS = {"run": "arguments"}  # of scripts whose parser has a module of its own
MODULES = {path.stem: path for path in ROOT.glob("*.py")}


def imported_by(path: Path) -> set[str]:
    """The modules of the suite that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found & MODULES.keys()


IMPORTS = {name: imported_by(path) for name, path in MODULES.items()}


def test_no_module_imports_a_script():
    importers = {name for name, targets in IMPORTS.items() if targets & (SCRIPTS - {name})}
    assert importers == set()


def test_imports_run_downwards_without_circles():
    assert len(IMPORTS) > 10
    left = {name: set(targets) for name, targets in IMPORTS.items()}
    while left:
        leaves = {name for name, targets in left.items() if not targets & left.keys()}
        assert leaves, f"a circle among {sorted(left)}"
        left = {name: targets for name, targets in left.items() if name not in leaves}


def test_metrics_and_errors_lie_at_the_bottom():
    assert IMPORTS["metrics"] == set()
    assert IMPORTS["errors"] == set()


def heavy_top_level_imports(path: Path) -> set[str]:
    allowed = set(sys.stdlib_module_names) | MODULES.keys()
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
    assert "--dataset" in answer.stdout
    assert heavy_top_level_imports(MODULES[script]) | heavy_top_level_imports(MODULES[parser]) == set()


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


def test_the_readme_installs_the_same_packages_without_uv():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    expected = [*project["project"]["dependencies"], *project["dependency-groups"]["demo"]]
    line = next(line for line in README.splitlines() if "pip install " in line and "venv" in line)
    assert re.findall(r'"([^"]+)"', line) == expected


def readme_commands() -> list[tuple[str, list[str]]]:
    """(script, arguments) of the README's indented commands."""
    lines = [line.strip() for line in README.splitlines() if line.startswith("    ")]
    words = [shlex.split(line) for line in lines if re.match(r"(uv run|python|torchrun)( --\S+ \d+)? \w+\.py", line)]
    places = [next(place for place, word in enumerate(line) if word.endswith(".py")) for line in words]
    return [(line[place].removesuffix(".py"), line[place + 1 :]) for line, place in zip(words, places, strict=True)]


def test_the_readme_shows_every_script():
    assert {script for script, _ in readme_commands()} == SCRIPTS & MODULES.keys()


@pytest.mark.parametrize(("script", "argv"), readme_commands(), ids=lambda part: str(part)[:60])
def test_readme_commands_are_understood_by_the_parser(script, argv):
    from importlib import import_module

    argv = [word.replace("$train", "none").replace("$eval", "none") for word in argv]
    assert import_module(script).parse_arguments(argv) is not None


def test_ci_runs_the_readmes_test_command():
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "uv run pytest" in steps
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
