"""The service; README.md describes its behaviour and its files."""


def missing_package(error: ModuleNotFoundError) -> str:
    """Return a sentence that names the missing package and how to install it.

    It is here because this module is imported first. Raises `error` itself if the missing module
    belongs to this service: that is a mistake in the source, and the traceback shows its place.
    """
    module = (error.name or str(error)).partition(".")[0]
    if module == __name__:
        raise error
    return (
        f"{__name__} needs the module '{module}', which is not installed: `uv sync` installs all "
        "that pyproject.toml lists, and `uv add` adds to the list."
    )
