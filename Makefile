# Everything a clone needs, on a machine with a Rust toolchain: `make test` sets up the rest itself.

CARGO ?= cargo
SDK := tests/sdk
PROVIDER := tests/outbound_auth/provider
SEGMENT := tests/segment
METRICS := tests/metrics
BROWSER := tests/web

.PHONY: help test check fmt lint doc sdk provider segment metrics schemathesis browser tools build dev bench clean

help: ## What there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: tools sdk provider segment metrics schemathesis browser ## Every test, the real binary and the real SDKs included
	$(CARGO) nextest run --no-fail-fast
	$(CARGO) test --doc --quiet
	$(CARGO) test --bench path

check: fmt lint doc ## Formatting, lints and documentation; warnings are errors

fmt: ## Formatting is as rustfmt leaves it
	$(CARGO) fmt --check

lint: ## clippy, warnings are errors
	$(CARGO) clippy --all-targets -- -D warnings

doc: ## The documentation builds without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

tools: ## cargo-nextest, if it is missing
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install cargo-nextest --locked

sdk: ## The Segment SDKs that the tests send with, at their pinned versions
	@$(SDK)/install

provider: ## The authorization server that the tests connect to, at its pinned version
	@$(PROVIDER)/install

segment: sdk ## Segment's own trigger and directive code, to compare with
	@$(SEGMENT)/install

metrics: ## What checks the alerting rules in deploy, and what collectors are told
	@$(METRICS)/install

schemathesis: ## What tries the admin API against its description, at its pinned version
	@tests/schemathesis/install

browser: ## The browser that the tests of the pages drive
	@$(BROWSER)/install

build: ## The program, as it is shipped
	$(CARGO) build --profile dist

dev: ## From nothing to a delivered, signed event
	$(CARGO) run --release -- dev

bench: ## Throughput and latency on this machine, against a bare POST loop
	$(CARGO) build --release
	target/release/postrider bench

clean: ## Away with what was built and installed
	$(CARGO) clean
	rm -rf $(SDK)/node_modules $(SDK)/.venv $(PROVIDER)/node_modules $(SEGMENT)/node_modules $(METRICS)/bin \
		$(METRICS)/.venv tests/schemathesis/.venv
