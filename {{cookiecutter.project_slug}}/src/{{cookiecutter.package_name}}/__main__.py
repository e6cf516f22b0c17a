"""Starts the service: `python -m` and the name of this package."""

from .serve import main

if __name__ == "__main__":
    main()
