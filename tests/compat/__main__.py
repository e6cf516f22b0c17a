"""Prints how the tests of Flask and asgiref end natively, through asgiref and through the bridge.

`sh scripts/uv run -m tests.compat` runs it; `docs/flask-compatibility.md` says what comes out.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.baking import bake

from . import suites

WAYS = {"flask": ("asgiref", "bridge", "bridge-async"), "asgiref": ("bridge",)}


def main() -> None:
    """Bakes the service and compares."""
    with TemporaryDirectory() as folder:
        project = bake(Path(folder))
        for package, ways in WAYS.items():
            native = suites.outcomes(project, package, "nothing")
            print(f"{package}: {suites.passed(native)} of {len(native)} pass natively")
            for way in ways:
                noted = suites.outcomes(project, package, way)
                print(f"{package}: {suites.passed(noted)} pass through {way}; they differ in")
                for test in sorted(suites.differing(noted, native)):
                    print(f"  {test}")


if __name__ == "__main__":
    main()
