# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
# make run [CONFIG=smoke] [ARGS="..."]   build a kernel, boot it, verify every module's split BTF
# make unit                              tests without engine and network, on several workers: under a minute
# make test                              lint and every test that CI runs, with their coverage and its floor
# make test-full                         those that take longer than CI may, too
# make docs                              the documentation as pages: build/docs/index.html
# make lint | setup | clean
# make constraints                       what CI installs, resolved anew: constraints.txt
# make fuzz [MUTANTS=10000] [SEED=1]     hold the offline check against the kernel, mutant by mutant;
#                                        RERUN=runs/fuzz-1.jsonl: those alone over which the two disagreed
#                                        RUN=runs/s390x: of that run's kernel, of any architecture
# make fuzz-reader [SECONDS=300]          feed hostile bytes to whatever reads files and BTF
#
# Needs Debian or Ubuntu with git, make and Python 3.11 or newer; installs the rest where it is root or may
# use sudo. Exit codes are kbtf-ci's own (docs/architecture.md), shown by make as "Error N".

CONFIG = smoke
ARGS =
MUTANTS = 10000
SEED = 1
RERUN =
RUN =
SECONDS = 300
# Half of the time of "make unit" is waiting, for guests that are played and for processes: more than cores.
WORKERS = 4
PYTHON = python3
VENV = .venv

BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt
# Debian keeps venv's half of Python's own library in a package apart.
VENV_PACKAGE = $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
ROOT = $$([ "$$(id -u)" = 0 ] || echo sudo -n)
INSTALL_VENV = { $(ROOT) apt-get update -q && $(ROOT) apt-get install -qy $(VENV_PACKAGE); } || \
    { echo "python3 -m venv does not work here: install $(VENV_PACKAGE)" >&2; exit 2; }

.NOTPARALLEL:
.PHONY: run unit test test-full lint docs constraints setup shells podman clean fuzz fuzz-reader

run: setup
	$(BIN)/kbtf-ci run --config $(CONFIG) $(ARGS)

UNIT = $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not engine and not e2e and not full"
unit: $(VENV)/dev.stamp
	$(UNIT) $(ARGS)

# Tests with an engine share that, a build directory and the cores, one after the other. The floor of the
# coverage holds for both halves together; of some tests alone there is none.
test: lint setup shells
ifeq ($(ARGS),)
	KBTF_CI_REQUIRE=all $(UNIT) --cov --cov-report= --cov-fail-under=0
	KBTF_CI_REQUIRE=all $(BIN)/pytest --cov --cov-append -m "(engine or e2e) and not full"
else
	KBTF_CI_REQUIRE=all $(BIN)/pytest $(ARGS)
endif

test-full: lint setup shells podman
	KBTF_CI_REQUIRE=all KBTF_CI_MUTANTS=$(MUTANTS) KBTF_CI_SEED=$(SEED) \
	    $(BIN)/pytest -m "" --timeout=7200 $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	find containers -name '*.[ch]' -exec $(BIN)/clang-format --dry-run -Werror {} +
	$(BIN)/shellcheck --external-sources .ci/run ci/*.sh
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml \
	    $(filter-out %.gitlab-ci.yml,$(wildcard examples/ci/*.yml))
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci examples/ci/*.gitlab-ci.yml
	$(BIN)/reuse lint --quiet || $(BIN)/reuse lint

docs: $(VENV)/dev.stamp
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

# Python 3.11 is the oldest that kbtf-ci runs on; what was resolved with a newer one may not be for that.
constraints:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	    { echo "constraints.txt is made with Python 3.11; name it with make PYTHON=..." >&2; exit 2; }
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet '.[dev,docs]'
	build/constraints/bin/python -m pip freeze --exclude kbtf-ci > build/constraints.freeze
	sed -n '/^#/p' constraints.txt | cat - build/constraints.freeze > build/constraints.txt
	mv build/constraints.txt constraints.txt

fuzz: $(VENV)/dev.stamp setup
	mkdir -p runs
	KBTF_CI_REQUIRE=all KBTF_CI_MUTANTS=$(MUTANTS) KBTF_CI_SEED=$(SEED) KBTF_CI_FUZZ_RERUN=$(RERUN) \
	    KBTF_CI_FUZZ_RUN=$(RUN) KBTF_CI_FUZZ_OUT=runs/fuzz-$(SEED).jsonl $(BIN)/pytest -s --timeout=7200 tests/e2e/test_fuzz.py $(ARGS)

fuzz-reader: $(VENV)/fuzz.stamp
	$(BIN)/python -m tests.fuzz.fuzz_reader build/fuzz-reader/corpus -artifact_prefix=build/fuzz-reader/ \
	    -max_total_time=$(SECONDS) -max_len=8192 -timeout=10 -rss_limit_mb=2048

# Completion is tested in each shell that it is made for.
shells:
	@{ command -v zsh && command -v fish; } >/dev/null || { $(ROOT) apt-get update -q && \
	    $(ROOT) apt-get install -qy --no-install-recommends zsh fish; }

# As rootless Podman is tested, with mmdebstrap where no registry gives an image.
PODMAN = podman crun newuidmap slirp4netns mmdebstrap
podman:
	@which $(PODMAN) >/dev/null || { $(ROOT) apt-get update -q && \
	    $(ROOT) apt-get install -qy podman crun uidmap slirp4netns mmdebstrap; }

setup: $(VENV)/run.stamp
	$(BIN)/kbtf-ci setup

clean:
	rm -rf $(VENV) build dist htmlcov .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/run.stamp: pyproject.toml constraints.txt $(BIN)/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(BIN)/python
	$(INSTALL) --editable '.[dev,docs]'
	touch $@ $(VENV)/run.stamp

$(VENV)/fuzz.stamp: pyproject.toml constraints.txt $(BIN)/python
	$(INSTALL) --editable '.[fuzz]'
	touch $@ $(VENV)/run.stamp

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "kbtf-ci needs Python 3.11 or newer; name one with make PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(INSTALL_VENV)
	$(PYTHON) -m venv $(VENV)
