# Everything a contributor runs, by name. The environment is made on first use; only Python 3.11+ and make are needed,
# and node 20+ for the contract's tests.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
NODE_READY := contracts/node_modules/.package-lock.json
WEB_READY := watcher/web/node_modules/.package-lock.json
# What decides: no I/O, no clock, no randomness (the import-linter contract "pure" lists them too).
PURE := chain/address.py,chain/clarity.py,chain/clarity_repr.py,chain/backoff.py,chain/model.py,chain/header_window.py,chain/api/parse.py,chain/api/parse_fields.py,chain/api/parse_mempool.py,chain/api/parse_multiple.py,chain/api/parse_v3.py,chain/api/parse_lists.py,chain/api/capabilities.py,chain/node/answers.py,chain/node/block.py,chain/node/branches.py,chain/node/byte_reader.py,chain/node/payloads.py,chain/node/transaction.py,contracts/*,notifier/circuit_breaker.py,notifier/crockford.py,notifier/rate_limit.py,notifier/retry.py,notifier/events.py,notifier/signing.py,notifier/status_line.py,watcher/domain/*
.DEFAULT_GOAL := help
.PHONY: help demo test check unit lint type format cov contracts contracts-vm browsers scripts scripts-check scripts-test bench-notifier bench-api bench-tip bench-checkout lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@echo "Setting up .venv (once) …" >&2
	@$(PYTHON) -c 'import sys; sys.exit("sbtc-watcher needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## the whole thing in one terminal: no network, no set-up (ARGS=--web: in a browser)
	@$(BIN)/sbtc-watcher demo $(ARGS)

test: $(READY) ## every check and every test
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check unit
	@$(BIN)/python -m pytest -n 3 --dist worksteal tests/property tests/integration tests/acceptance tests/browser $(ARGS)

# What reads the code, and the contract: beside the unit tests, which use one core.
check: lint type contracts scripts-check

unit: $(READY) ## the unit tests, and that they cover every branch of what decides
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest tests/unit $(ARGS)
	@$(MAKE) --no-print-directory cov

cov: $(READY) ## every branch of what decides is covered by its unit tests
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered --show-missing --fail-under=100 --include=$(PURE)

contracts: ## the payment contract in the real Clarity VM: tests, coverage, costs (needs node 20 or newer)
	+@$(call with_node,contracts-vm,The contract's VM tests)

contracts-vm: $(NODE_READY)
	@cd contracts && npm test --silent

scripts: $(WEB_READY) ## make the scripts of the pages anew (needs node 20 or newer)
	@cd watcher/web && npm run --silent build

scripts-check:
	+@$(call with_node,scripts-test,The checks of the pages' scripts)

scripts-test: $(WEB_READY)
	@cd watcher/web && npm test --silent

$(NODE_READY) $(WEB_READY): %/node_modules/.package-lock.json: %/package-lock.json
	@cd $* && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# Make the target $(1) where node is; $(2) says what is skipped without it, and what CI never skips.
define with_node
if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null; then $(MAKE) --no-print-directory $(1); \
elif [ -n "$(REQUIRE_NODE)" ]; then echo "$(2) need node 20 or newer, with npm" >&2; exit 1; \
else echo "SKIPPED: $(2) need node 20 or newer, with npm" >&2; fi
endef

lint: $(READY) ## ruff and the import contracts
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-logo >.venv/lint-imports.log 2>&1 || { cat .venv/lint-imports.log; exit 1; }

type: $(READY) ## mypy, strict
	@$(BIN)/mypy --no-error-summary

format: $(READY) ## let ruff fix what it can
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

browsers: $(READY) ## checkout and widget in Firefox and WebKitGTK too, where they are installed
	@$(BIN)/python -m pytest -rs tests/other_browsers $(ARGS)

bench-notifier: $(READY) ## how fast webhooks go out, on loopback
	@$(BIN)/python -m benchmarks.notifier $(ARGS)

bench-tip: $(READY) ## how soon a webhook follows a block, on loopback
	@$(BIN)/python -m benchmarks.tip $(ARGS)

bench-api: $(READY) ## how fast the merchant API answers, on loopback
	@$(BIN)/python -m benchmarks.api $(ARGS)

bench-checkout: $(READY) ## how large the checkout is, and how fast it is answered, on loopback
	@$(BIN)/python -m benchmarks.checkout $(ARGS)

lock: ## pin every dependency anew (needs uv)
	uv pip compile pyproject.toml --all-extras --group dev --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 --upgrade -o requirements.lock

clean: ## remove the environment and caches
	rm -rf .venv contracts/node_modules watcher/web/node_modules .mypy_cache .ruff_cache .import_linter_cache .coverage* dist
