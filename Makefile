# `make bench` and `make test` are the README's two commands. Both set up what they need and may be run again at once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUNS ?= runs/default

.DEFAULT_GOAL := help
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: help bench test verify audit readme coverage fuzz campaign lint setup alfworld-env inspect-env ray-env test-ray vllm-env test-vllm benchmark-vllm llama-env test-llama benchmark-llama benchmark browser tex gpu

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

bench: $(READY) ## Play the default suite, then compute and print the board.
	$(BIN)/mixroute run default --out $(RUNS)
	$(BIN)/mixroute board $(RUNS)

test: $(READY) ## Run the test suite.
	$(PYTEST)

coverage: $(READY) ## Run the test suite, or TESTS of it, and print which lines no test reaches.
	$(PYTEST) --cov --cov-report=term-missing:skip-covered $(TESTS)

verify: $(READY) ## Verify the published results as a whole; AUDIT=1 lets the models score an episode of each entry, too.
	OMP_NUM_THREADS=1 $(BIN)/mixroute verify results/entries --published $(if $(AUDIT),--audit $(AUDIT)) $(foreach pool,$(POOLS),--pool $(pool))

audit: $(READY) ## Let the models score 8 episodes of every published entry (long, resumes); SEED=text draws others.
	OMP_NUM_THREADS=1 $(BIN)/mixroute verify results/entries --audit 8 $(if $(SEED),--seed $(SEED)) $(foreach pool,$(POOLS),--pool $(pool)) --evidence results/evidence

readme: $(READY) ## Write the figures of README.md from results/board.json.
	$(BIN)/python -m docs.readme

fuzz: $(READY) ## Run the hypothesis tests with 2,000 random examples each, parsers 10,000; SEED=7 repeats a run.
	$(PYTEST) --hypothesis-profile=random -m 'hypothesis and not slow' $(if $(SEED),--hypothesis-seed=$(SEED))

campaign: $(READY) ## Kill work at 1,000 random moments, fill the disk, share a cache (30 minutes); KILLS=50 is shorter.
	CAMPAIGN_KILLS=$(or $(KILLS),1000) $(PYTEST) --dist load -o addopts= -m slow tests/campaign
	$(BIN)/python -m docs.reliability runs/campaign

lint: $(READY) ## Check style, types, and the layers of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmark: $(READY) ## Measure timings; none of them is asserted.
	$(BIN)/python -m pytest tests/benchmarks -o addopts= -m 'not slow' --benchmark-only --benchmark-columns=min,median,stddev,rounds

# Without our environment: a machine with CUDA has a PyTorch of its own, and perhaps no network.
gpu: ## Check and time backend transformers on a CUDA machine that has PyTorch and transformers (10 minutes, OUT=folder).
	timeout 600 $(PYTHON) -m tests.gpu --out $(or $(OUT),runs/gpu)

setup: $(READY) ## Build the environment in .venv and do nothing else.

# Anew each time (--clear): a setup that was killed leaves half-installed packages.
# torch first and by its pinned version, so that nothing asks for a build with CUDA where a CPU build is at hand.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

browser: ## Install Debian's Chromium for the tests of the board's page (as root).
	command -v chromium || command -v google-chrome || (apt-get update -q && apt-get install -q -y chromium)

tex: ## Install Debian's LaTeX for the test of tables for papers (as root).
	command -v pdflatex || (apt-get update -q && apt-get install -q -y --no-install-recommends texlive-latex-recommended)

# The original engine has GPL parts and needs a C++ compiler; it lives apart and is used only to verify ours.
alfworld-env: .venv-alfworld/.ready ## Install the original ALFWorld engine for the conformance tests.
.venv-alfworld/.ready: constraints-alfworld.txt
	$(PYTHON) -m venv --clear .venv-alfworld
	.venv-alfworld/bin/python -m pip install --quiet --requirement constraints-alfworld.txt
	touch $@

# inspect_ai wants versions of packages that do not go with ours; it is used only to read what mixroute export writes.
inspect-env: .venv-inspect/.ready ## Install inspect_ai for the test of its logs.
.venv-inspect/.ready: constraints-inspect.txt
	$(PYTHON) -m venv --clear .venv-inspect
	.venv-inspect/bin/python -m pip install --quiet --requirement constraints-inspect.txt
	touch $@

# Ray goes with our versions, and its tests run ours in its processes: it is installed beside them.
ray-env: $(VENV)/.ray ## Install Ray for runs on a cluster, and for their tests.
$(VENV)/.ray: $(READY) constraints-ray.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --constraint constraints-ray.txt --editable '.[ray]'
	touch $@

test-ray: $(VENV)/.ray ## Run the tests on a Ray cluster of three nodes on this machine.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/harness/engine/cluster

# vLLM pins its own torch and transformers. Its CPU build names packages for images and sound that it does without.
vllm-env: .venv-vllm/.ready ## Install vLLM's CPU build, with mixroute beside it.
.venv-vllm/.ready: constraints-vllm.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet "$$(grep '^torch==' constraints-vllm.txt)"
	.venv-vllm/bin/python -m pip install --quiet --no-deps --requirement constraints-vllm.txt --editable .
	touch $@

test-vllm: .venv-vllm/.ready ## Run the contract tests of backends on vLLM's engine and its server.
	VLLM_LOGGING_LEVEL=ERROR .venv-vllm/bin/python -m pytest tests/harness/backends/test_contract.py

benchmark-vllm: .venv-vllm/.ready ## Measure what the engine adds to vLLM, and transformers against vLLM.
	VLLM_LOGGING_LEVEL=ERROR .venv-vllm/bin/python -m pytest tests/benchmarks/test_backends.py -o addopts= --benchmark-only --benchmark-columns=min,median,stddev,rounds

# There is no wheel of llama.cpp's server: it is compiled, by one process, and serves from an environment of its own.
llama-env: .venv-llama/.ready ## Compile and install llama.cpp's server (C++ compiler, 10 to 25 minutes).
.venv-llama/.ready: constraints-llama.txt
	$(PYTHON) -m venv --clear .venv-llama
	CMAKE_BUILD_PARALLEL_LEVEL=1 .venv-llama/bin/python -m pip install --quiet --requirement constraints-llama.txt
	touch $@

benchmark-llama: $(READY) .venv-llama/.ready ## Measure tokens a second of backend transformers against llama.cpp, one sequence.
	LLAMA_PYTHON=.venv-llama/bin/python $(BIN)/python -m pytest tests/benchmarks/test_llama.py -o addopts= -s --benchmark-only --benchmark-columns=min,median,stddev,rounds

test-llama: $(READY) .venv-llama/.ready ## Run the contract tests of backends on llama.cpp's server.
	LLAMA_PYTHON=.venv-llama/bin/python $(BIN)/python -m pytest tests/harness/backends/test_contract.py -k llama
