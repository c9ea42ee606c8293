# Short names for what infra/bootstrap.py does; every target sets up .venv first.
PYTHON ?= python3

.PHONY: setup demo test test-fast test-long lint audit format lock ui up compose-up compose-down bench

setup demo test test-fast test-long lint audit:
	$(PYTHON) infra/bootstrap.py $@

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Needs uv. No address of any index is written to the lock: names, versions and hashes alone.
lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --output-file requirements.txt
	uv pip compile pyproject.toml --extra openvino --extra kubernetes --universal --python-version 3.11 \
		--constraints requirements.txt --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --output-file infra/docker/requirements.txt

ui: setup
	.venv/bin/forge ui

# All that one machine needs, of forge.yaml in this folder: web server, daemon, automation on. Ctrl-C stops it.
up: setup
	.venv/bin/forge ui --automation

# In containers: see docs/deployment.md.
compose-up:
	docker compose --file infra/compose/compose.yaml up --build --detach

compose-down:
	docker compose --file infra/compose/compose.yaml down

# Minutes each, one after another: they measure this machine, so let nothing else run meanwhile.
bench: setup
	set -e; for script in tests/benchmarks/*.py; do echo "== $$script"; .venv/bin/python $$script; done
