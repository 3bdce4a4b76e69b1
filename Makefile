# make demo    the main job, ending with a page in demo/   make slow   the long tests, the notebooks, a newer ngspice
# make test    the tests                                  make lint   style, types, documentation
# make docs    the documentation site, in build/docs
# Both set up what they need: system packages where missing, then a virtual environment in .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# One BLAS thread: the systems are small, and parallel work is by processes.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: demo test slow lint docs clean system
.DELETE_ON_ERROR:

demo: .venv/.stamp
	$(BIN)/amcsim demo --out demo

test: .venv/.stamp
	$(BIN)/pytest -q -m "not slow" -n 2 --dist loadfile

slow: .venv/.stamp
	$(BIN)/pytest -q -m slow
	$(BIN)/pytest -q --nbmake notebooks
	scripts/newer_ngspice.sh build/ngspice
	. build/ngspice/use.sh && $(BIN)/pytest -q -m "not slow" -n 2 --dist loadfile \
		tests/ngspice tests/netlist tests/analysis tests/solvers tests/acceptance tests/campaign

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy amcsim
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs: .venv/.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Order-only: looked at on every run (a tenth of a second), but it does not make the stamp old.
# Peers that tests compare with: badcrossbar would ask for a drawing library that does not build without cairo,
# curvlinops for torchvision, which it does not import.
.venv/.stamp: setup.cfg setup.py pyproject.toml constraints.txt | system
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(PIP) install --retries 5 --timeout 60 -c constraints.txt -e '.[training,test,data,cluster,docs]'
	$(PIP) install --retries 5 --timeout 60 -c constraints.txt --no-deps badcrossbar pathvalidate sigfig \
		curvlinops-for-pytorch backpack-for-pytorch einconv einops linear_operator opt_einsum tqdm unfoldNd
	touch $@

system:
	@scripts/system.sh $(PYTHON)

clean:
	rm -rf .venv build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
