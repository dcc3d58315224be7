"""What an installation consists of; looks at the one that is being tested, for building another would take minutes."""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

import fastlock
from conftest import Python

ROOT = Path(__file__).parents[1]
EXTENSIONS = sorted(path.stem for path in (ROOT / "src" / "fastlock").glob("*.pyx") if path.stem != "_driver")


@pytest.fixture(scope="module")
def installed() -> Distribution:
    """The installed distribution, unless it is a link to the checkout."""
    found = distribution("fastlock")
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("installed in editable mode")
    return found


@pytest.fixture(scope="module")
def files(installed: Distribution) -> set[str]:
    """The names of its files, relative to site-packages."""
    return {str(path) for path in installed.files or ()}


def test_start_file_is_where_python_looks(installed: Distribution) -> None:
    """fastlock.pth is at the top of the directory that holds the package, in every kind of installation."""
    path = Path(str(distribution("fastlock").locate_file("fastlock.pth")))
    assert path.read_text() == (ROOT / "src" / "fastlock.pth").read_text()
    assert path.read_text().startswith("import ") and path.read_text().count("\n") == 1


@pytest.mark.parametrize("name", ["fastlock.pth", "_fastlock_start.py", "fastlock/py.typed", "fastlock/_native.h"])
def test_wheel_has(files: set[str], name: str) -> None:
    """The start file lies beside the package; type checkers find their marker and Cython its header."""
    assert name in files


@pytest.mark.parametrize("kind", ["*.pyi", "*.pxd"])
def test_wheel_has_every_declaration(files: set[str], kind: str) -> None:
    """Each stub and Cython declaration of the checkout is installed."""
    wanted = {f"fastlock/{path.name}" for path in (ROOT / "src" / "fastlock").glob(kind)}
    assert wanted and wanted <= files


@pytest.mark.parametrize("name", EXTENSIONS)
def test_wheel_has_extension(files: set[str], name: str) -> None:
    """Each extension module is there, once, and no source of it."""
    assert sum(file.startswith(f"fastlock/{name}.") and file.endswith(".so") for file in files) == 1
    assert not files & {f"fastlock/{name}.c", f"fastlock/{name}.pyx"}


def test_nothing_else_at_the_top(files: set[str]) -> None:
    """site-packages gets our two names and the metadata only."""
    tops = {name.partition("/")[0] for name in files if not name.startswith("..")}
    ours = {"fastlock", "fastlock.pth", "_fastlock_start.py", "__pycache__"}
    assert {top for top in tops if not top.endswith(".dist-info")} <= ours


def test_metadata(installed: Distribution) -> None:
    """Name, licence and command are declared, and nothing is required at run time."""
    assert installed.metadata["Name"] == "fastlock"
    assert any(path.name == "LICENSE" for path in installed.files or ())
    assert [(script.name, script.value) for script in installed.entry_points] == [("fastlock", "fastlock.cli:main")]
    assert all("extra ==" in requirement for requirement in installed.requires or ())


def test_imported_from_the_installation(installed: Distribution) -> None:
    """The tests test what was installed, not the checkout."""
    assert Path(fastlock.__file__) == Path(str(installed.locate_file("fastlock/__init__.py")))


# Runs setup.py with what builds replaced: tells what Cython and setuptools would have been asked for.
ASKED = """
import json, runpy, Cython.Build, setuptools
asked = {}
Cython.Build.cythonize = lambda modules, **options: asked.update(modules=[module.name for module in modules], **options)
setuptools.setup = lambda **options: asked.update(build_base=options["options"]["build"]["build_base"])
runpy.run_path("setup.py")
print(json.dumps(asked))
"""
SWITCHES = {
    "": ({}, set()),
    "FASTLOCK_FREETHREADING": ({"freethreading_compatible": True}, set()),
    "FASTLOCK_DRIVER": ({}, {"fastlock._driver"}),
    "FASTLOCK_CAS": ({}, set()),
}


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("value", ["0", "1", "yes"])
def test_build_switches(python: Python, switch: str, value: str) -> None:
    """Each switch does its own thing in a build directory of its own; free threading is declared only where it is asked for, in C of its own."""
    pytest.importorskip("Cython", reason="Cython is not installed (the extra `test` has it)")
    done = python("-c", ASKED, env={switch: value} if switch else {}, cwd=ROOT)
    if switch and value == "yes":
        assert done.returncode == 1
        assert f"{switch}='yes': must be 0 or 1" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    asked = json.loads(done.stdout)
    directives, more = SWITCHES[switch] if value == "1" else SWITCHES[""]
    assert asked["compiler_directives"] == directives
    assert set(asked["modules"]) == {f"fastlock.{name}" for name in EXTENSIONS} | more
    name = Path(asked["build_base"]).name
    assert (name == sys.implementation.cache_tag) is (not switch or value == "0")
    assert asked["build_dir"] == ("build/c-ft" if directives else "build/c")
