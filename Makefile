# `make lab` and `make test` need nothing but Debian 12 or 13, root and this checkout: they install what is missing.
.PHONY: help setup lab check real test vm bench nightly docs clean
.NOTPARALLEL:
weft := .venv/bin/weft
python := .venv/bin/python

help:  ## these lines
	@sed -n 's/^\([a-z]*\):.*## /make \1: /p' Makefile | column -t -s:

setup:  ## install what is missing, Debian packages and Python libraries (into .venv)
	@tools/setup

lab: setup  ## the shop of examples/shop.yaml on this machine, and who reaches whom in it
	@$(weft) lab down shop >/dev/null
	@$(weft) lab up examples/shop.yaml
	@$(weft) lab ping shop
	@echo "Look around: $(weft) show guests, $(weft) lab exec web1 -- ip address. Take it down: $(weft) lab down shop"

check:  ## lint, types and every test that needs no root (under a minute)
	@tools/setup check
	.venv/bin/ruff check
	.venv/bin/mypy
	$(python) -m pytest -n auto -m "not real"

real: setup  ## the tests with real Open vSwitch, namespaces and packets (root)
	$(python) -m pytest -m real

test: setup check real  ## all of CI

vm:  ## examples, uplinks, cards with virtual functions and a reboot, on Debian's own kernel under QEMU
	@tools/setup vm
	tests/vm/run
	tests/vm/run tests/vm/traffic
	WEFT_VM_SECONDS=1800 tests/vm/run tests/vm/uplinks
	WEFT_VM_SECONDS=1800 WEFT_VM_CARDS=1 tests/vm/run tests/vm/sriov
	tests/vm/reboot

bench:  ## figures beside those of peers, measured in the same run (root)
	@tools/setup bench
	PATH="$(CURDIR)/.peers/usr/bin:$$PATH" $(python) -m bench

nightly: test vm bench  ## everything, and 100,000 malformed frames, others every day
	WEFT_FUZZ_FRAMES=100000 WEFT_FUZZ_SEED=$$(date +%Y%m%d) $(python) -m pytest tests/real/test_fuzz.py

docs:  ## print the documents that are made from code
	@tools/setup check
	$(python) -m docs.print

clean:  ## remove everything that is made here, .venv too
	rm -rf .venv .vm .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
