# make demo | test | check: each works on a fresh machine with Python 3.11 or newer.
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check

$(VENV)/ready: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test]'
	touch $@

DEMO := expert_iteration --tasks gym:rotate_matrix@2,base_conversion@2,chain_sum@3 --steps 40 --lr 3e-4 --max-tokens 320 --eval-n 300

demo: $(VENV)/ready
	$(BIN)/journeyman run $(DEMO) --out out/demo
	$(BIN)/journeyman report out/demo

test: $(VENV)/ready
	scripts/check
	$(BIN)/python -m pytest -n 2

check: $(VENV)/ready
	scripts/check
