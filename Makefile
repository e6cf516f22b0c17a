# Every target does its own set-up, inside this folder, given Python 3.11+, make and a package index.

RUN := sh scripts/uv run --locked

# The service's sources are linted as bakes, with the rules of the bake; its libraries, which are the
# same in every bake, here.
SRC := {{cookiecutter.project_slug}}/src
LIBRARIES := '$(SRC)/flask_asgi' '$(SRC)/flask_guards' '$(SRC)/typed_views' '$(SRC)/upstreams'
SOURCES := cookiecutter_flask_async_answers.py benchmarks docs/conf.py hooks scripts tests $(LIBRARIES)

# In the template's folder, cached bytecode would be baked.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/bytecode
RUFF := $(RUN) ruff --config pyproject.toml

# The tests start many processes; without cached bytecode each compiles everything it imports.
unexport PYTHONDONTWRITEBYTECODE

# Most of what the tests do is to wait for the servers that they start.
WORKERS := $(or $(shell python3 -c 'import os; print(2 * (os.cpu_count() or 1))' 2>/dev/null),4)

.PHONY: demo test light-tests test-all bench lint format lock hooks copier address recording dist docs reference workbench carry-back

# Bakes the default service, starts it and shows its waits overlap. DEMO_EXIT=1 stops it after that.
demo:
	@$(RUN) --only-group demo -m scripts.demo

# Lint, the template's tests, and a bake's own tests on the oldest Python. At once, since mypy takes
# half a minute of one core; both find what they need installed.
test:
	@sh scripts/uv sync --locked --quiet
	@$(MAKE) --no-print-directory --jobs 2 lint light-tests

# The first command compiles what the tests import; otherwise each worker would do so.
light-tests:
	@$(RUN) pytest --collect-only --quiet --quiet -m "not heavy" >/dev/null 2>&1 || true
	@$(RUN) pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not heavy"

# The same, and then the heavy tests, two at a time: a bake's own on every other Python that is found,
# those that build and run what is deployed, and the rest of long tables.
test-all: test
	@$(RUN) pytest --numprocesses 2 --dist loadfile -m heavy

# Measures the template beside its peers; needs Linux, two cores and wrk. QUICK=1 takes seven minutes,
# ONLY=goodput measures what becomes of requests while upstream calls fail, in three, ONLY=service
# whole services and ONLY=observing what metrics and traces cost, in six each, and AGAINST=COMMIT
# compares with another commit, in seven.
bench:
	@$(RUN) --only-group bench -m benchmarks

lint:
	@$(RUFF) check $(SOURCES)
	@$(RUFF) format --check $(SOURCES)
	@$(RUN) mypy

format:
	@$(RUFF) check --fix-only $(SOURCES)
	@$(RUFF) format $(SOURCES)

# Refreshes all lock files; UPGRADE=1 takes the newest versions.
lock:
	@sh scripts/uv lock $(if $(UPGRADE),--upgrade)
	@sh scripts/uv lock --project benchmarks/fastapi_template $(if $(UPGRADE),--upgrade)
	@$(RUN) --only-group demo -m scripts.lock $(if $(UPGRADE),--upgrade)

# Checks each commit from now on: see .pre-commit-config.yaml.
hooks:
	@$(RUN) prek install

# Writes copier.yml from cookiecutter.json.
copier:
	@$(RUN) -m scripts.copier

# Lists where the address of this repository stands; NEW=https://... changes it there, for a fork.
address:
	@$(RUN) --only-group demo -m scripts.address $(NEW)

# Records the terminals that README.md shows.
recording:
	@$(RUN) --only-group demo -m scripts.recording

# Builds and checks a wheel and an sdist of each of the service's libraries, into dist/.
dist:
	@$(RUN) --only-group dist scripts/dist.py

# Builds the site of docs/ into .cache/site; a warning, such as a link that leads nowhere, is an error.
docs:
	@$(RUN) --only-group docs sphinx-build --quiet --fail-on-warning --fresh-env -c docs . .cache/site

# Writes the reference pages of docs/ from the code.
reference:
	@$(RUN) -m scripts.reference

# Bakes the default service into .cache/workbench, to work on its sources and run its tools.
workbench:
	@$(RUN) -m scripts.workbench workbench

# Carries the edits made in the workbench back to the template, or says which cannot be.
carry-back:
	@$(RUN) -m scripts.workbench carry-back
