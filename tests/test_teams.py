"""The commands on the page for teams work, and so does its workflow."""

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from scripts.address import address

from .baking import ROOT, contents
from .releases import PROGRAMS, Release, append, commit, git, program
from .uv import run

pytestmark = pytest.mark.heavy

PAGE = ROOT / "docs" / "teams.md"
WORKFLOW = ROOT / "docs" / "update-template.yml"
URL = address()
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def programs(folder: Path) -> dict[str, str]:
    """A `uvx` that runs the installed program, and a `gh` that records its arguments."""
    folder.mkdir()
    uvx = f"""#!/bin/sh
[ "$1" = --with ] && shift 2
name=${{1%%@*}}
shift
exec "{PROGRAMS}/$name" "$@"
"""
    gh = f'#!/bin/sh\necho "$@" >> "{folder}/asked"\n'
    for name, script in (("uvx", uvx), ("gh", gh)):
        (folder / name).write_text(script, encoding="utf-8")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_the_commands_of_the_page_work(release: Release, tmp_path: Path) -> None:
    env = programs(tmp_path / "programs")
    uri = release.repository.as_uri()
    lines = "".join(BLOCK.findall(PAGE.read_text(encoding="utf-8"))).splitlines()
    # cruft and Git take a `file:` URL as it is; Cookiecutter and Copier need `git+` before it.
    plain = re.compile("cruft (create|link)|git clone")
    script = "\n".join(
        line[2:].replace(URL, uri if plain.search(line) else f"git+{uri}") for line in lines
    )

    run("bash", "-c", f"set -euo pipefail\n{script}", cwd=tmp_path, env=env)

    owners = {}
    versions = {}
    for name in ("orders", "stocks", "returns", "baskets"):
        settings = tomllib.loads((tmp_path / name / "pyproject.toml").read_text(encoding="utf-8"))
        owners[name] = settings["project"]["authors"][0]["name"]
        versions[name] = settings["tool"]["cookiecutter-flask-async"]["version"]
    assert owners == {
        "orders": "Example Ltd",
        "stocks": "Your Name",
        "returns": "Your Name",
        "baskets": "Example Ltd",
    }
    assert versions == dict.fromkeys(owners, "1.1.0")


def test_the_tools_find_no_fault_in_the_workflow() -> None:
    run("zizmor", "--offline", "--persona=auditor", WORKFLOW, cwd=ROOT)
    run("actionlint", WORKFLOW, cwd=ROOT)
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["update"]["steps"]
    with_token = [step for step in steps if "github.token" in str(step)]
    assert [step["run"].split()[0] for step in with_token] == ["gh"]  # not the step with cruft


def test_the_workflow_opens_a_pull_request_only_for_a_new_version(
    release: Release, tmp_path: Path
) -> None:
    env = programs(tmp_path / "programs")
    create = ("create", release.repository.as_uri(), "--no-input", "--checkout")
    program("cruft", *create, release.first, cwd=tmp_path)
    service = tmp_path / "price-service"
    git(service, "init", "--quiet")
    append(service / "README.md", "")
    commit(service, "feat: start from the template")
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(service, "remote", "add", "origin", tmp_path / "origin.git")
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["update"]["steps"]
    update, publish = (("bash", "-e", "-o", "pipefail", "-c", each["run"]) for each in steps[-2:])
    output = tmp_path / "output"
    env["GITHUB_OUTPUT"] = str(output)

    run(*update, cwd=service, env=env)
    assert output.read_text(encoding="utf-8") == "committed=true\n"  # for the next step
    assert steps[-1]["if"] == "steps.update.outputs.committed == 'true'"
    run(*publish, cwd=service, env=env)
    asked = (tmp_path / "programs" / "asked").read_text(encoding="utf-8")
    git(service, "clean", "--force", "-d", "--quiet")
    output.unlink()
    run(*update, cwd=service, env=env)
    assert not output.exists()

    assert "pr create --title Follow the template" in asked
    assert asked == (tmp_path / "programs" / "asked").read_text(encoding="utf-8")
    assert git(tmp_path / "origin.git", "branch") == "follow-the-template"
    assert contents(service)["NEWS.md"] == b"News of price-service.\n"
