"""Removes the files that the answers leave out, and says what to do next.

The table of those files is `BROUGHT_BY` in `cookiecutter_flask_async_answers.py`. Cookiecutter
renders this file with Jinja and runs it in the new project; an answer enters it only through a
filter that quotes it. It needs no network and no tool.
"""

from pathlib import Path

ASIDE = ".set-aside"

NEXT = """
The service is in {slug}/. Next:

  cd {slug}
  uv run {slug}    # installs what it needs and starts the service
  uv run pytest    # runs its tests

README.md says the rest. The commands need uv: https://docs.astral.sh/uv/
"""


def remove(project: Path, left_out: str) -> list[Path]:
    """Removes what the answers leave out, and gives the files that stay because a team wrote them.

    Over an existing project `pre_gen_project.py` has set aside what stood at those paths. A file
    that differs from the template's is somebody's work and is put back.
    """
    kept = []
    for path in map(project.joinpath, left_out.split()):
        aside = path.with_name(path.name + ASIDE)
        if aside.exists() and aside.read_bytes() != path.read_bytes():
            aside.replace(path)
            kept.append(path)
        else:
            aside.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            remove_empty(path.parent, project)
    return kept


def remove_empty(folder: Path, project: Path) -> None:
    """Removes a folder of the project that holds nothing, and then the ones that only held it."""
    while folder != project and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


if __name__ == "__main__":
    for path in remove(Path.cwd(), "{{ cookiecutter | left_out | escaped }}"):
        print(f"Kept {path.relative_to(Path.cwd())}, which is not the template's.")
    print(NEXT.format(slug="{{ cookiecutter.project_slug | escaped }}"))
