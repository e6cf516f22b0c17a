"""Sets aside what a team wrote where this bake writes.

Cookiecutter renders this file with Jinja and runs it in the new project; an answer enters it only
through a filter that quotes it. `cookiecutter_flask_async_answers.py` has checked the answers by
then, hooks or not.
"""

from pathlib import Path

ASIDE = ".set-aside"


def set_aside(project: Path, left_out: str) -> None:
    """Renames the files that stand where Cookiecutter is about to write one that it leaves out.

    A bake over an existing project writes every file of the template first; `post_gen_project.py`
    then removes what the answers leave out, and puts back what was not the template's.
    """
    for path in map(project.joinpath, left_out.split()):
        if path.is_file():
            path.replace(path.with_name(path.name + ASIDE))


if __name__ == "__main__":
    set_aside(Path.cwd(), "{{ cookiecutter | left_out | escaped }}")
