# Two commands do everything on a bare machine: `make demo` and `make test`.
PYTHON ?= python3
UV := .uv/bin/uv
RUN := $(UV) run --frozen --all-extras
BUDGET ?= 60s
PORT ?= 8080

# Where bytecode is not kept, each of the many processes compiles every library anew: ten seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test lint bench docs clean

$(UV):
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || (apt-get update -qq && apt-get install -y -qq python3-venv)
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

.venv/.ready: $(UV) pyproject.toml uv.lock | openmp
	$(UV) sync --quiet --frozen --all-extras --python $(PYTHON)
	touch $@

setup: .venv/.ready          ## the environment, from the lock file

demo: setup                  ## the main job on a real table, then the live service
	$(RUN) roadworthy launch examples/data/adult.csv --target income --budget $(BUDGET) --port $(PORT)

test: setup system           ## every test, in groups side by side
	@$(RUN) python -m tests

lint: setup                  ## format, lint, types
	$(UV) lock --check --quiet
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

bench: setup system          ## the speed claims, each beside its peer
	$(UV) sync --quiet --frozen --all-extras --compile-bytecode  # as pip and images do
	$(RUN) python -m compileall -q src
	$(RUN) python -m benchmarks.in_process
	$(RUN) python -m benchmarks.serve_one_row
	$(RUN) python -m benchmarks.serve_batches
	$(RUN) python -m benchmarks.serve_peers

docs: setup                  ## docs/reference.md from docstrings and --help
	$(RUN) python -m docs.reference

# What Debian has to bring: OpenMP for LightGBM; for the tests and benchmarks a browser, curl, wrk.
.PHONY: openmp system
openmp:
	@ldconfig -p | grep -q libgomp || (apt-get update -qq && apt-get install -y -qq libgomp1)

system:
	@command -v chromium >/dev/null && command -v wrk >/dev/null && command -v curl >/dev/null \
	  || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium wrk curl)

clean:
	rm -rf .tests-*.log .venv .uv bundles dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
