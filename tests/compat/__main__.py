"""Prints how the tests of Flask and asgiref end natively, through asgiref and through the bridge.

`sh scripts/uv run -m tests.compat` runs it; `docs/flask-compatibility.md` has the results.
"""

from . import suites

WAYS = {suites.FLASK: ("asgiref", "bridge", "bridge-async"), suites.ASGIREF: ("bridge",)}


def main() -> None:
    """Runs the comparison."""
    for suite, ways in WAYS.items():
        package, native = suite.package, suites.outcomes(suite, "nothing")
        print(f"{package}: {suites.passed(native)} of {len(native)} pass natively")
        for way in ways:
            noted = suites.outcomes(suite, way)
            print(f"{package}: {suites.passed(noted)} pass through {way}; they differ in")
            for test in sorted(suites.differing(noted, native)):
                print(f"  {test}")


if __name__ == "__main__":
    main()
