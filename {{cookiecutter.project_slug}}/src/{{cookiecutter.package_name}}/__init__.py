"""The service; README.md says what it does and where things are."""


def missing_package(error: ModuleNotFoundError) -> str:
    """Return the sentence that tells which needed package is missing and how to install it.

    It is here because nothing is imported before it. Raises `error` itself when the missing module
    is one of this service: that is a mistake in the source, and its traceback says where.
    """
    module = (error.name or str(error)).partition(".")[0]
    if module == __name__:
        raise error
    return (
        f"{__name__} needs the module '{module}', which is not installed: `uv sync` installs all "
        "that pyproject.toml lists, and `uv add` adds to the list."
    )
