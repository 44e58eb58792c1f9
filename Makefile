# The commands of this repository; CONTRIBUTING says when to use which.
SHELL := /bin/bash -o pipefail
PYTEST := .venv/bin/pytest
# The first looks for leftovers, which another cluster's would resemble; the second keeps time.
ALONE := e2e/test_harness_leaves_nothing.py e2e/test_headline.py
# Two minutes each: in this order every worker gets one of them.
LONGEST := e2e/test_operator_killed.py e2e/test_story_existing_cluster.py
# What is slow of the tests without a cluster: real processes on loopback, fleets in virtual time.
PROCESSES := $(addprefix tests/unit/,cli emulator engines gateway quality story)
SIMULATIONS := $(addprefix tests/unit/,fidelity simulation)
export KEEP DEMO_CLUSTER DEMO_IMAGE JSON

.PHONY: install venv check lint types contracts test test-unit test-processes test-simulations test-cluster test-e2e test-engines demo headline engine fidelity sweep-demo bench-gateway soak-gateway verify-aiperf image clean clean-cache

install:            ## everything that tests and demo need (first time: minutes; then seconds)
	scripts/install

venv:               ## the Python environment alone
	scripts/venv

check: lint types contracts   ## all that needs no test run

lint: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: venv
	.venv/bin/mypy
	.venv/bin/mypy --explicit-package-bases -p e2e.harness -p e2e.provision -p e2e.story \
	  -p e2e.engines -p e2e.fidelity -p e2e.sweep -p benchmarks.gateway

contracts: venv
	.venv/bin/lint-imports --no-logo

test: install test-unit test-processes test-simulations test-cluster test-e2e   ## everything

test-unit: venv     ## pure: under a minute
	$(PYTEST) tests/unit $(addprefix --ignore=,$(PROCESSES) $(SIMULATIONS)) -n 3

test-processes: venv   ## gateway, emulator, commands as processes on loopback: a minute
	$(PYTEST) $(PROCESSES) -n 2

test-simulations: venv   ## fleets in virtual time: a minute
	$(PYTEST) $(SIMULATIONS) -n 3

test-cluster: install   ## against a real kube-apiserver, no nodes
	$(PYTEST) tests/cluster -n 2 --dist loadfile

test-e2e: install   ## on real nodes (root)
	$(PYTEST) $(LONGEST) $(filter-out $(ALONE) $(LONGEST),$(wildcard e2e/test_*.py)) \
	  -n 2 --dist loadfile --no-loadscope-reorder --timeout=600
	$(PYTEST) $(ALONE)

demo: $(if $(filter existing,$(DEMO_CLUSTER)),venv,install)   ## KEEP=1, DEMO_CLUSTER=existing, JSON=FILE
	.venv/bin/python -m e2e.story.demo

headline: install   ## JSON=FILE
	.venv/bin/python -m e2e.story.headline

engine: venv        ## a real vLLM for the CPU with a tiny model (0.9 GB to download, once)
	.venv/bin/python -m e2e.engines

test-engines: engine   ## the gateway on a real vLLM, cell by cell, half an hour; writes docs/conformance.*
	.venv/bin/python -m e2e.engines.conformance --json docs/conformance.json; found=$$?; \
	  .venv/bin/python -m e2e.engines.conformance.table; exit $$found

fidelity: engine    ## the simulator against it, half an hour; JSON=FILE, PLOT=FILE, REPEAT=N
	.venv/bin/python -m e2e.fidelity $(if $(JSON),--json $(JSON)) $(if $(PLOT),--plot $(PLOT)) \
	  $(if $(REPEAT),--repeat $(REPEAT))

sweep-demo: engine  ## what thinking buys, on a real vLLM, in a quarter of an hour; JSON=FILE
	.venv/bin/python -m e2e.sweep $(if $(JSON),--json $(JSON))

bench-gateway: venv   ## a token's cost beside nginx and LiteLLM, six minutes; JSON=FILE, LITELLM=no
	.venv/bin/python -m benchmarks.gateway $(if $(JSON),--json $(JSON)) \
	  $(if $(filter no,$(LITELLM)),--no-litellm)

soak-gateway: venv    ## half an hour of streams while replicas die; MINUTES=N, JSON=FILE
	.venv/bin/python -m benchmarks.gateway.soak $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(JSON),--json $(JSON))

verify-aiperf: venv   ## what NVIDIA's aiperf measures beside our metrics, 90 s (1.2 GB, once); JSON=FILE
	.venv/bin/python -m benchmarks.gateway.verify_aiperf $(if $(JSON),--json $(JSON))

image: install      ## the product's image as a docker-archive; prints its path
	@.venv/bin/python -c 'from e2e.harness import images; print(images.product_archive())'

clean:              ## what tests and tools left in the tree
	rm -rf build dist runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-cache:        ## also what `make install` built (minutes to build again)
	rm -rf .venv "$${XDG_CACHE_HOME:-$$HOME/.cache}/thinkscale"
