# Two commands for new users: `make demo` and `make test`. `make help` lists all targets.
#
# The work is done in scripts/, cargo and guests/; this file has only the order.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 30
DOC_COMPLAINTS := RUSTDOCFLAGS="-D warnings"

# Under `sudo make …` only packages are installed as root: built files belong to the
# owner of the checkout, so that the next `make` works without sudo.
OWNER := $(shell stat -c %U .)
ifeq ($(shell id -u),0)
ifneq ($(OWNER),root)
ifeq ($(OWNER),$(SUDO_USER))
AS_OWNER := sudo -E -H -u $(OWNER)
endif
endif
endif

# A Rust that is new enough, also where it is not on PATH; looked up in the
# recipe because setup.sh may have installed it a moment ago.
RUST = rust=$$(scripts/find-rust.sh) && export PATH="$$rust:$$PATH"

# Embeds the kernels of the built-in runtime, if `make runtime` could build one.
FEATURES = $$(compgen -G 'runtime/build/*.xz' >/dev/null && echo --features kraft/builtin-runtime || true)

# Selects the features that all crates of the workspace and, with an example, their tests need: with those of another
# selection, each crate of the workspace and half of its dependencies are compiled again.
ALL = --workspace --example monitor --locked

# The processors of this host, and at least five.
TESTS_AT_ONCE = $(shell n=$$(nproc); echo $$((n > 5 ? n : 5)))

XTASK = cargo build --quiet $(ALL) --bin xtask $(FEATURES) && target/debug/xtask

.PHONY: help demo demo-run test test-run check check-run bench bench-run applications applications-run projects projects-run test-kubernetes test-swarm conformance conformance-run fuzz book install setup guests runtime build

help: ## List these targets
	@echo "Usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand --tabs=18

demo: ## Install what is missing, build, run unikernels and a web application
	@scripts/setup.sh demo
	@$(AS_OWNER) $(MAKE) demo-run

demo-run: guests runtime build
	@KRAFT=target/debug/kraft scripts/demo.sh

test: ## Install what is missing and run every test
	@scripts/setup.sh test
	@$(AS_OWNER) $(MAKE) test-run

# `cargo test` builds target/debug/kraft, too; without KRAFT_BIN, the tests of kraft-e2e build it with other features.
# Tests wait for guests, registries and time limits as much as they compute: those of the kernel run beside the
# others, whose output is shown first.
test-run: guests runtime
	@echo "make: running the tests"
	@$(RUST); { \
		failed=0; \
		export KRAFT_BIN=$(CURDIR)/target/debug/kraft; \
		export RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$(TESTS_AT_ONCE)}; \
		output=$$(mktemp); \
		(cd runtime && exec cargo test --locked --no-fail-fast) >"$$output" 2>&1 & \
		kernel=$$!; \
		trap 'kill "$$kernel" 2>/dev/null || true; rm -f "$$output"' EXIT; \
		cargo test --workspace --locked --no-fail-fast $(FEATURES) || failed=1; \
		wait "$$kernel" || failed=1; \
		cat "$$output"; \
		exit $$failed; \
	} 2>&1 | scripts/sum-up-tests.sh

applications: ## Run real applications on the built-in runtime (an hour without KVM)
	@scripts/setup.sh test
	@$(AS_OWNER) $(MAKE) applications-run

# Two at a time: without KVM each machine keeps a processor busy.
applications-run: runtime build
	@scripts/make-applications.sh
	@$(RUST); cargo test --package kraft-e2e --locked --test applications -- --include-ignored \
		--skip memory --skip projects --test-threads 2 --nocapture

projects: ## Create and run projects of every kind with `kraft init` (five minutes without KVM)
	@scripts/setup.sh test
	@$(AS_OWNER) $(MAKE) projects-run

projects-run: runtime build
	@scripts/make-applications.sh bases
	@$(RUST); cargo test --package kraft-e2e --locked --test applications -- --ignored projects \
		--test-threads 2 --nocapture

test-kubernetes: ## Run unikernels on a real Kubernetes, as root (builds it once: 10 minutes)
	@scripts/setup.sh kubernetes
	@$(AS_OWNER) $(MAKE) runtime build
	@$(AS_OWNER) scripts/make-kubernetes.sh
	@$(RUST); KRAFT_E2E=require KRAFT_BIN=$(CURDIR)/target/debug/kraft cargo test --workspace --locked $(FEATURES) --test machines -- \
		--ignored --nocapture kubernetes

test-swarm: ## Run unikernels on Docker Swarm, its routing mesh on Debian's kernel, as root (ten minutes without KVM)
	@scripts/setup.sh test
	@$(AS_OWNER) $(MAKE) runtime build
	@$(RUST); KRAFT_E2E=require KRAFT_BIN=$(CURDIR)/target/debug/kraft cargo test --workspace --locked $(FEATURES) --test machines -- \
		--ignored --nocapture --test-threads 1 swarm

conformance: ## Run the Linux Test Project and libc-test on the built-in runtime, the OCI runtime-tools on runu (an hour)
	@scripts/setup.sh conformance
	@$(AS_OWNER) $(MAKE) conformance-run
	@scripts/oci-conformance.sh

conformance-run: runtime build
	@scripts/conformance.sh

check: ## Check formatting, lints, imports, wording, generated files, documentation, licences
	@scripts/setup.sh check
	@$(AS_OWNER) $(MAKE) check-run

# Checked, the fuzz targets are not linked: the variable keeps libfuzzer-sys from compiling the C++ of the fuzzer.
check-run: export CUSTOM_LIBFUZZER_PATH = ./unused
check-run:
	@echo "make: checking the formatting"
	@$(RUST); cargo fmt --all --check
	@$(RUST); cargo fmt --manifest-path runtime/Cargo.toml --check
	@echo "make: checking lints"
	@$(RUST); cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@$(RUST); if [[ -d $$(rustc --print target-libdir --target x86_64-unknown-none) ]]; then \
		echo "make: checking lints of the built-in runtime"; \
		cd runtime && cargo clippy --release --target x86_64-unknown-none --locked --quiet -- -D warnings; \
	else \
		echo "make: skipped lints of the built-in runtime: the Rust target x86_64-unknown-none is not installed"; \
	fi
	@$(RUST); for target in {x86_64,aarch64}-{unknown-linux-musl,apple-darwin}; do \
		if command -v cargo-zigbuild >/dev/null && [[ -d $$(rustc --print target-libdir --target "$$target") ]]; then \
			echo "make: checking that kraft compiles for $$target"; \
			cargo-zigbuild check --package kraft --target "$$target" --locked --quiet; \
		else \
			echo "make: skipped $$target: cargo-zigbuild or this target of Rust is not installed"; \
		fi; \
	done
	@echo "make: checking the imports between crates"
	@$(RUST); $(XTASK) arrows
	@echo "make: checking the wording"
	@$(RUST); $(XTASK) words
	@echo "make: checking that every public module has an example"
	@$(RUST); $(XTASK) examples
	@echo "make: checking that generated files are up to date"
	@$(RUST); $(XTASK) docs --check
	@echo "make: checking the links of the documentation"
	@$(RUST); $(XTASK) links
	@echo "make: checking the documentation"
	@$(RUST); $(DOC_COMPLAINTS) cargo doc $(ALL) --lib --bin xtask --no-deps --document-private-items --quiet
	@$(RUST); if command -v cargo-deny >/dev/null; then \
		echo "make: checking licences, banned crates and sources"; \
		cargo deny --locked check --hide-inclusion-graph bans licenses sources; \
		cargo deny --locked --manifest-path runtime/Cargo.toml check --config deny.toml --hide-inclusion-graph bans licenses sources; \
	else \
		echo "make: skipped licences, banned crates and sources: cargo-deny is not installed"; \
	fi
	@if command -v actionlint >/dev/null; then \
		echo "make: checking the workflows"; \
		actionlint; \
	else \
		echo "make: skipped the workflows: actionlint is not installed"; \
	fi
	@echo "make: all checks passed"

bench: ## Measure against the plain tools and print ratios
	@scripts/setup.sh test
	@$(AS_OWNER) $(MAKE) bench-run

bench-run: guests
	@echo "make: building with optimisation, then measuring"
	@$(RUST); cargo bench --package kraft-e2e --locked --quiet

fuzz: ## Run each fuzz target for FUZZ_SECONDS (needs a nightly Rust and cargo-fuzz)
	@scripts/fuzz.sh $(FUZZ_SECONDS)

book: ## Build the website of docs/ in target/book (needs mdBook)
	@command -v mdbook >/dev/null || { echo "make: mdbook is not installed: cargo install --locked mdbook" >&2; exit 1; }
	@mdbook build

install: ## Install kraft, its man pages, completions and JSON Schemas under PREFIX (/usr/local)
	@scripts/setup.sh demo
	@$(AS_OWNER) $(MAKE) runtime
	@echo "make: building with optimisation"
	@$(RUST); cargo build --release --locked --package kraft $(FEATURES)
	@scripts/install.sh target/release/kraft "$(DESTDIR)$(PREFIX)"

setup: ## Install what is missing for all targets
	@scripts/setup.sh check

guests:
	@echo "make: building the guests in guests/build"
	@$(MAKE) --silent -C guests

runtime: ## Build the kernels of the built-in runtime in runtime/build
	@echo "make: building the built-in runtime in runtime/build"
	@$(RUST); scripts/build-runtime.sh

build:
	@echo "make: building target/debug/kraft"
	@$(RUST); cargo build $(ALL) --bin kraft $(FEATURES)
