"""Sets aside a team's files at the paths that this bake writes.

Cookiecutter renders this file with Jinja and runs it in the new project. An answer enters it only
through a filter that quotes it. `cookiecutter_flask_async_answers.py` has already checked the
answers, even if hooks are switched off.
"""

from pathlib import Path

ASIDE = ".set-aside"


def set_aside(project: Path, left_out: str) -> None:
    """Renames existing files whose paths are among those that the answers leave out.

    A bake over an existing project writes every file of the template first. `post_gen_project.py`
    then removes the files that the answers leave out, and puts back a team's files.
    """
    for path in map(project.joinpath, left_out.split()):
        if path.is_file():
            path.replace(path.with_name(path.name + ASIDE))


if __name__ == "__main__":
    set_aside(Path.cwd(), "{{ cookiecutter | left_out | escaped }}")
