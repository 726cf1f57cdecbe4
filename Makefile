# The few verbs, the same for people and CI. `make` alone lists them.
# Each does all the set-up it needs: on a fresh Debian machine, as root, nothing is installed by hand.

SHELL := /bin/sh
PY := .venv/bin/python
SOURCES := client guest wire boxes scripts tests bench

.PHONY: help setup demo check fmt test unit e2e bench box

help: ## list the verbs
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: ## install what Wherry needs (apt, pip into .venv); leaves .venv/bin/wherry, wherryd, wherry-runc
	@sh scripts/setup.sh dev

box: setup ## build the box (kept outside the clone, by a hash of what goes into it)
	@$(PY) boxes/build.py

demo: setup box ## the main job: a VM through Vagrant, a real MariaDB in a container inside it
	@sh scripts/demo.sh

check: setup ## ruff, mypy strict (client also for Windows and macOS), import arrows, shellcheck
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy wire client guest boxes bench
	.venv/bin/mypy --platform win32 wire client
	.venv/bin/mypy --platform darwin wire client
	.venv/bin/lint-imports
	$(PY) scripts/lint_root_paths.py
	git ls-files -z | xargs -0 awk 'FNR == 1 && /^#!\/bin\/(busybox )?(ba)?sh/ { print FILENAME }' | xargs shellcheck -x

fmt: setup ## put the code into its standard form
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

unit: setup ## the tests that need neither root nor Linux; seconds
	.venv/bin/pytest -q tests/unit

test: setup box check ## everything: checks, unit, contract, guest (root), conformance, e2e (boots VMs)
	@sh scripts/test.sh

e2e: setup box ## only the tests that boot a virtual machine
	.venv/bin/pytest -q tests/e2e

bench: setup box ## measure (SECTIONS="starts pull" for some), and write docs/benchmarks.md; installs the rivals it compares with
	@sh scripts/setup.sh bench
	@$(PY) -m bench $(SECTIONS)
