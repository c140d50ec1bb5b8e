# Everything there is to do here, each from a fresh clone with nothing but Python 3.11+ and make. The plain commands stand in CONTRIBUTING.md.

PYTHON ?= python3
PROMPT ?= a red fox under a full moon in a snowy pine forest
SEED ?= 7

VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
UV_COMPILE := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-header --no-emit-index-url

# Made once, and again when what they depend on has changed; without a change nothing here needs the network.
RUNTIME := $(VENV)/.runtime
TOOLS := $(VENV)/.tools
LOCAL := $(VENV)/.local
FOREIGN := $(VENV)/.foreign

.PHONY: help demo serve test long conformance test-local lint format check package bundle docs lock bench clean

help: ## list what can be done
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile | expand -t 16

demo: $(RUNTIME) ## draw a picture without any key, print where it is and show it
	@$(BIN)/mcp-image-server generate "$(PROMPT)" --provider sketch --seed $(SEED)

serve: $(RUNTIME) ## serve MCP and the gallery at http://127.0.0.1:8000
	$(BIN)/mcp-image-server serve --transport http

test: $(TOOLS) ## run the tests, but for the longest
	$(BIN)/python -m pytest -n 2 -m "not long and not foreign"

long: $(TOOLS) ## run the longest tests: many kills, many jobs, the whole life of jobs as a model
	$(BIN)/python -m pytest -n 2 -m long

conformance: $(FOREIGN) ## run the official conformance suite against the server, and other people's clients
	$(BIN)/python -m tests.conformance
	$(BIN)/python -m pytest -n 2 -m foreign tests/clients

test-local: $(LOCAL) ## draw with true diffusion pipelines, in an environment of their own; the first time downloads more than a gigabyte
	$(VENV)/local/$(notdir $(BIN))/python -m pytest tests/local

lint: $(TOOLS) ## look at style, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(TOOLS) ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test long conformance package ## everything a change must pass; the tests hold documents and lock files to the code as well

package: $(TOOLS) ## build sdist and wheel, install the wheel in an environment of its own, and draw with it
	$(BIN)/python tools/check_package.py

bundle: $(RUNTIME) ## make the bundle that desktop clients install by a double click
	$(BIN)/python tools/make_bundle.py

docs: $(RUNTIME) ## write the generated pages anew
	$(BIN)/python tools/make_docs.py

lock: $(TOOLS) ## choose the newest versions that pyproject.toml allows, for every Python and system at once
	$(UV_COMPILE) --upgrade pyproject.toml --group dev -o requirements-dev.lock.txt
	$(UV_COMPILE) --upgrade pyproject.toml -c requirements-dev.lock.txt -o requirements.lock.txt
	$(UV_COMPILE) --upgrade --group build -c requirements-dev.lock.txt -o requirements-build.lock.txt
	$(UV_COMPILE) --upgrade pyproject.toml --extra postgres -c requirements-dev.lock.txt -o requirements-server.lock.txt
	$(UV_COMPILE) --upgrade --group foreign -o requirements-foreign.lock.txt

bench: $(TOOLS) ## measure
	$(BIN)/python -m bench

clean: ## remove what was built and installed; pictures and history stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit(f"Python 3.11 or newer is needed, and $(PYTHON) is {sys.version.split()[0]}. Try: make PYTHON=python3.13")'
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.lock.txt requirements-build.lock.txt pyproject.toml | $(BIN)/python
	@echo "Installing the locked packages into $(VENV)"
	@$(PIP) --require-hashes -r requirements.lock.txt -r requirements-build.lock.txt
	@$(PIP) --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(LOCAL): pyproject.toml | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/local
	$(VENV)/local/$(notdir $(BIN))/python -m pip --disable-pip-version-check install --quiet --editable '.[diffusers]' pytest
	@touch $@

$(FOREIGN): requirements-foreign.lock.txt tests/clients/package-lock.json $(TOOLS)
	@echo "Installing Node and the locked packages of tests/clients into $(VENV)"
	@$(PIP) --require-hashes -r requirements-foreign.lock.txt
	@$(BIN)/python -m tests.clients.node
	@touch $@

$(TOOLS): requirements-dev.lock.txt $(RUNTIME)
	@echo "Installing the locked tools into $(VENV)"
	@$(PIP) --require-hashes -r requirements-dev.lock.txt
	@touch $@
