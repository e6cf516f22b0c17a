"""Builds the libraries in the template's folder as distributions, into `dist/`: `make dist`.

Their sources are in Git once, in the template's folder, and `libraries/` holds the metadata of
each. This script combines both into a project of the usual layout. The wheel is built from the
sdist, which proves that the sdist is complete.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
METADATA = ROOT / "libraries"
SOURCES = ROOT / "{{cookiecutter.project_slug}}" / "src"
LIBRARIES = tuple(sorted(path.name for path in METADATA.iterdir() if path.is_dir()))

# Files for the top folder of a project; in a service they are in each library's own folder.
AT_THE_TOP = ("LICENSE", "README.md")


def sources(library: str) -> Path:
    """The folder of a library's package."""
    return SOURCES / library.replace("-", "_")


def assemble(library: str, project: Path) -> None:
    """Puts the metadata and the sources of a library together in a new folder."""
    shutil.copytree(METADATA / library, project)
    package = project / "src" / sources(library).name
    shutil.copytree(sources(library), package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in AT_THE_TOP:
        (package / name).rename(project / name)


def build(output: Path) -> list[Path]:
    """Builds the sdist and the wheel of every library, and returns their paths.

    The repository locks the version of the builder. It gives each file the same date, or that of
    `SOURCE_DATE_EPOCH`, so two builds of the same sources are the same bytes.

    Raises:
        subprocess.CalledProcessError: when one cannot be built.
    """
    with TemporaryDirectory() as folder:
        for library in LIBRARIES:
            project = Path(folder, library)
            assemble(library, project)
            command = ("uv", "build", "--quiet", "--no-build-isolation", "--no-create-gitignore")
            where = ("--python", sys.executable, "--out-dir", str(output), str(project))
            subprocess.run([*command, *where], check=True)
    return sorted(path for path in output.iterdir() if path.suffix in {".gz", ".whl"})


def check(distributions: list[Path]) -> None:
    """Runs the tools that find faults in distributions.

    Raises:
        subprocess.CalledProcessError: when one of them finds a fault.
    """
    wheels = [path for path in distributions if path.suffix == ".whl"]
    python = (sys.executable, "-m")
    subprocess.run([*python, "twine", "check", "--strict", *distributions], check=True)
    subprocess.run([*python, "check_wheel_contents", *wheels], check=True)


if __name__ == "__main__":
    target = ROOT / "dist"
    shutil.rmtree(target, ignore_errors=True)
    check(build(target))
