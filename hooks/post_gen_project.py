"""Removes the files that the answers leave out, and prints the next steps.

The table of those files is `BROUGHT_BY` in `cookiecutter_flask_async_answers.py`. Cookiecutter
renders this file with Jinja and runs it in the new project. An answer enters it only through a
filter that quotes it. It needs no network and no tool.
"""

from pathlib import Path

ASIDE = ".set-aside"

NEXT = """
The service is in {slug}/. Next:

  cd {slug}
  uv run {slug}    # installs what it needs and starts the service
  uv run pytest    # runs its tests

README.md has more. The commands need uv: https://docs.astral.sh/uv/
"""


def remove(project: Path, left_out: str) -> list[Path]:
    """Removes the files that the answers leave out; returns those kept because a team wrote them.

    In an existing project `pre_gen_project.py` has set aside the files at those paths. A file that
    differs from the template's is a team's work and is put back.
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
    """Removes an empty folder of the project, and the parents that are empty after that."""
    while folder != project and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


if __name__ == "__main__":
    for path in remove(Path.cwd(), "{{ cookiecutter | left_out | escaped }}"):
        print(f"Kept {path.relative_to(Path.cwd())}, which is not the template's.")
    print(NEXT.format(slug="{{ cookiecutter.project_slug | escaped }}"))
