"""Says which needed package is not installed, in place of a traceback."""


def missing_package(error: ModuleNotFoundError) -> str:
    """Return the sentence that tells what is missing and how to install it.

    Raises `error` itself when the missing module is one of this service: that is a mistake in the
    source, and its traceback says where.
    """
    service = __name__.partition(".")[0]
    module = (error.name or str(error)).partition(".")[0]
    if module == service:
        raise error
    return (
        f"{service} needs the module '{module}', which is not installed: `uv sync` installs all "
        "that pyproject.toml lists, and `uv add` adds to the list."
    )
