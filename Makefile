# make demo    set up what is missing, build, and show a whole migration on sample data
# make test    set up what is missing, and run all tests
# make bench   the same for the measurements
#
# DEMO_ARGS are handed to `lite2pg demo`, TEST_ARGS to the test runner.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c

DEMO_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: demo test bench setup

demo: setup
	@if [ -x target/release/lite2pg ]; then quiet=--quiet; else \
	    quiet=; echo "building lite2pg, which takes a few minutes the first time" >&2; \
	fi; cargo build --release --locked $$quiet
	@target/release/lite2pg demo $(DEMO_ARGS)

# nextest gives each test a process of its own and is used where it is installed; it does not run
# the examples in the documentation, so those follow.
test:
	@deploy/setup.sh --tests
	@if cargo nextest --version >/dev/null 2>&1; then \
	    cargo nextest run --locked --features failpoints --no-fail-fast $(TEST_ARGS); \
	    cargo test --locked --features failpoints --doc --quiet; \
	else \
	    cargo test --locked --features failpoints --no-fail-fast $(TEST_ARGS); \
	fi

bench: setup
	@cargo bench --locked $(BENCH_ARGS)

setup:
	@deploy/setup.sh
