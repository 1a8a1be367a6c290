"""The rules of the house, read from its files: who may import whom, what is packed, what is written down."""

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import networkx as nx
import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = ("topology", "apps", "controller", "agents", "cli")

MAY_IMPORT = {
    "topology": set(),
    "apps": {"topology"},
    "controller": {"topology", "apps"},
    "agents": {"topology"},
    "cli": {"topology", "apps", "controller", "agents"},
}

LIBRARIES = {
    "networkx": {"topology"},
    "pydantic": {"topology"},
    "pydantic_core": {"topology"},
    "yaml": {"topology"},
    "os_ken": {"controller"},
    "pyroute2": {"agents"},
    "libvirt": {"agents/libvirt.py"},
    "typer": {"cli"},
    "rich": {"cli", "topology/draw.py"},
    "uvloop": {"controller", "cli"},
}
"""Third-party import name -> the only places for it."""

IMPORT_NAMES = {"os-ken": "os_ken", "pyyaml": "yaml"}
"""Where the name of a distribution is not its import name."""

LONGEST_FILE = 400


def modules() -> dict[str, Path]:
    """Import name -> file of everything that is installed."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return {import_name(path): path for path in files}


def import_name(path: Path) -> str:
    parts = ["weft", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Names of modules that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in below)


def folder_of(module: str) -> str:
    return module.split(".")[1]


def setup_cfg() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def required(section: str, option: str) -> set[str]:
    lines = setup_cfg()[section][option].split("\n")
    return {re.split(r"[ <>=!~\[;]", line.strip())[0].lower() for line in lines if line.strip()}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_the_folders_below_it(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for module, path in MODULES.items()
        if folder_of(module) == folder
        for name in imported(path)
        if name.startswith("weft.") and folder_of(name) not in {folder, *MAY_IMPORT[folder]}
    ]
    assert wrong == []


def test_a_library_is_imported_only_in_its_place() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in MODULES.values()
        for name in imported(path)
        if (top := name.partition(".")[0]) not in sys.stdlib_module_names
        and top != "weft"
        and not {path.relative_to(ROOT).parts[0], str(path.relative_to(ROOT))} & LIBRARIES.get(top, set())
    ]
    assert wrong == []


def test_no_module_leads_back_to_itself() -> None:
    graph = nx.DiGraph((module, name) for module, path in MODULES.items() for name in imported(path) if name in MODULES)
    assert list(nx.simple_cycles(graph)) == []


def test_every_library_we_ask_for_is_used() -> None:
    used = {name.partition(".")[0] for path in MODULES.values() for name in imported(path)}
    asked = {IMPORT_NAMES.get(name, name) for name in required("options", "install_requires")}
    assert asked - used == set()


def test_no_file_is_long() -> None:
    ours = [path for folder in (*FOLDERS, "tests", "bench", "docs") for path in (ROOT / folder).rglob("*.py")]
    assert {str(path.relative_to(ROOT)): n for path in ours if (n := path.read_text().count("\n")) > LONGEST_FILE} == {}


def test_every_folder_of_modules_is_a_package() -> None:
    options = setup_cfg()["options"]
    mapped = dict(line.split(" = ") for line in options["package_dir"].split("\n") if line)
    assert set(options["packages"].split()) == set(mapped)
    assert {folder: ".".join(["weft", *Path(folder).parts]) for folder in mapped.values()} == {v: k for k, v in mapped.items()}
    assert {str(path.parent.relative_to(ROOT)) for path in MODULES.values()} == set(mapped.values())


def test_the_wheel_holds_every_module_and_what_they_read(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, copy(tmp_path)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("weft-*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("weft/")}
    data = {f"weft/{path.relative_to(ROOT)}" for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in DATA}
    assert packed == {f"weft/{path.relative_to(ROOT)}" for path in MODULES.values()} | data
    assert "weft/topology/fabric.ovsschema" in packed


DATA = (".typed", ".ovsschema")


def copy(folder: Path) -> Path:
    """The checkout's packages elsewhere, so that building leaves nothing in it."""
    to = folder / "source"
    for path in [*MODULES.values(), *(p for f in FOLDERS for p in (ROOT / f).rglob("*") if p.suffix in DATA)]:
        target = to / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (to / name).write_bytes((ROOT / name).read_bytes())
    return to


def test_every_dependency_has_its_reason_written_down() -> None:
    words = (ROOT / "docs/dependencies.md").read_text().lower()
    arrays = re.findall(r"packages=\(([^)]*)\)", (ROOT / "tools/setup").read_text())
    debian = {package for array in arrays for package in array.split()}
    asked = required("options", "install_requires") | debian
    asked = asked.union(*(required("options.extras_require", extra) for extra in setup_cfg()["options.extras_require"]))
    assert sorted(name for name in asked if f"`{name}`" not in words) == []


def test_ci_runs_the_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def test_every_example_has_its_line_in_the_list() -> None:
    listed = (ROOT / "examples/README.md").read_text()
    examples = sorted(path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".yaml", ".sh", ".py"))
    assert examples
    assert [name for name in examples if name not in listed] == []


def test_every_example_says_a_fabric() -> None:
    for path in (ROOT / "examples").glob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict), path
