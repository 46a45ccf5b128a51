# Needs python3 (3.11+, with venv) and make; everything else is installed into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Ansible's own environment: what it needs and what we need never meet.
ANSIBLE_VENV ?= .venv-ansible
PYTEST := $(BIN)/python -m pytest
# An environment of the caller's must not leak into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV AIRFLOW_HOME AIRFLOW_CONFIG

.DEFAULT_GOAL := help
.PHONY: help install dev ansible up down test test-unit test-integration test-acceptance
.PHONY: test-chaos test-hosts test-hosts-all bench lint lint-ansible format docs lock clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

install: $(VENV)/.installed ## Install the locked environment into .venv

up: $(VENV)/.installed ## Start the whole stack, run the demo on real applicants, leave the stack up
	@$(BIN)/airlane up --demo

down: $(VENV)/.installed ## Stop the stack: intake first, workers get 20 s, no process is left
	@$(BIN)/airlane down

dev: $(VENV)/.dev ## Install what tests and lint need too

test: $(VENV)/.dev ## Run unit, integration and acceptance tests, in temporary instances
	$(PYTEST) tests/unit tests/integration tests/acceptance $(ARGS)

test-unit: $(VENV)/.dev ## Run the fast tests only
	$(PYTEST) tests/unit $(ARGS)

test-integration: $(VENV)/.dev ## Run the tests on real servers
	$(PYTEST) tests/integration $(ARGS)

test-acceptance: $(VENV)/.dev ## Run the tests on a whole stack of their own
	$(PYTEST) tests/acceptance $(ARGS)

test-chaos: $(VENV)/.dev ## Take parts of a stack away while sign-ups flow, and send a burst (some 20 minutes)
	$(PYTEST) tests/chaos $(ARGS)

ansible: $(ANSIBLE_VENV)/.installed ## Install Ansible into .venv-ansible, to run the playbooks from here

test-hosts: $(VENV)/.dev $(ANSIBLE_VENV)/.installed ## Run the short suite on real hosts made for it (root, Debian; some 20 minutes)
	AIRLANE_ANSIBLE=$(ANSIBLE_VENV)/bin $(PYTEST) tests/hosts -m short -s $(ARGS)

test-hosts-all: $(VENV)/.dev $(ANSIBLE_VENV)/.installed ## Run every test on real hosts (root, Debian; 3 to 5 hours)
	AIRLANE_ANSIBLE=$(ANSIBLE_VENV)/bin $(PYTEST) tests/hosts -s $(ARGS)

bench: $(VENV)/.bench ## Measure airlane and stock Airflow in turn; ARGS="--quick", ARGS=--list
	@$(BIN)/python -m tests.benchmarks $(ARGS)

lint: $(VENV)/.dev ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev ## Write the schema of queues.yaml and its reference from the models
	@$(BIN)/python tools/queue_docs.py

lint-ansible: $(ANSIBLE_VENV)/.installed ## Check roles and playbooks; a minute, so not part of lint
	cd deploy/ansible && PATH="$(abspath $(ANSIBLE_VENV))/bin:$$PATH" yamllint --strict .
	cd deploy/ansible && PATH="$(abspath $(ANSIBLE_VENV))/bin:$$PATH" ansible-lint -q

format: $(VENV)/.dev ## Put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev ## Resolve the dependencies anew into the lock files
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --upgrade pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --upgrade --group dev -c requirements.lock -o requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --upgrade --group bench -c requirements.lock -o requirements-bench.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --upgrade deploy/ansible/requirements.in -o requirements-ansible.lock
	echo uv | $(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --upgrade - -o requirements-uv.lock

clean: ## Delete the environment and caches; the instance stays (airlane reset deletes it)
	rm -rf $(VENV) $(ANSIBLE_VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.installed: requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) tools/install.py $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.installed requirements-dev.lock
	@$(PYTHON) tools/install.py $(VENV) requirements.lock requirements-dev.lock
	@touch $@

$(VENV)/.bench: $(VENV)/.installed requirements-bench.lock
	@$(PYTHON) tools/install.py $(VENV) requirements.lock requirements-bench.lock
	@touch $@

$(ANSIBLE_VENV)/.installed: requirements-ansible.lock requirements-uv.lock
	@$(PYTHON) tools/install.py --packages-only $(ANSIBLE_VENV) requirements-ansible.lock
	@touch $@
