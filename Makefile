# `make demo` and `make test` need git, make and Python >= 3.11 with venv; they make .venv themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test soak bench guard format protos clean compiled

demo: compiled
	$(BIN)/gristmill orders run

test: compiled
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/pytest --numprocesses=2 --dist=loadfile

soak: .venv/installed
	$(BIN)/pytest tests/integration/test_saga_simulation.py --simulation-seeds=1000
	$(BIN)/python bench/soak.py

# All figures of docs/performance.md; `make bench PEERS= METG_PEERS=` installs none to compare with.
PEERS ?= ray,dask,xoscar
METG_PEERS ?= joblib,dask,ray
BENCHES := messaging accounting arrays scaling savina lifecycle recovery elastic channels orders advice
EXAMPLES := matmul heat nbody options alignment

bench: compiled
	@mkdir -p bench/results
	@set -e; for name in $(BENCHES) $(EXAMPLES); do \
		$(BIN)/python bench/$$name.py --json bench/results/$$name.json; \
	done
	$(BIN)/python bench/messaging.py --transport zeromq --json bench/results/messaging_zeromq.json
	$(BIN)/python bench/metg.py --transport zeromq --json bench/results/metg_zeromq.json
	$(BIN)/python bench/orders.py --channels redis,kafka --json bench/results/orders_redis_kafka.json
	$(BIN)/python bench/peers.py --with "$(PEERS)" --json bench/results/peers.json
	$(BIN)/python bench/metg.py --with "$(METG_PEERS)" --json bench/results/metg.json
	$(BIN)/python bench/render.py

# CPU time and memory against bench/guard.json, in ratios that hold on a busy machine.
guard: .venv/installed
	$(BIN)/python bench/guard.py

# What orders.proto compiles to is checked in.
PROTO := gristmill_orders/api/orders
protos: .venv/installed
	cd workers && ../$(BIN)/python -m grpc_tools.protoc -I . --pyi_out=. \
		--descriptor_set_out=$(PROTO).binpb $(PROTO).proto

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gristmill needs Python 3.11 or newer; say which: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Installing gristmill and its tools into .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# As pip leaves an installed package; else, where Python writes no bytecode, every process compiles.
compiled: .venv/installed
	@$(BIN)/python -m compileall -q runtime workers bench tests

clean:
	rm -rf .venv .gristmill
