# make check is the whole gate; CARGOFLAGS takes what every call of cargo shall get.
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
# Where each shell looks for completions.
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d
# Where systemd looks for units, and where the examples for others are.
UNITDIR = $(PREFIX)/lib/systemd/system
DOCDIR = $(PREFIX)/share/doc/plakar
# What is installed, and a program of that version that runs here and prints completions.
BINARY = target/release/plakar
COMPLETER = $(BINARY)
# For which machine `make static` and `make dist` build.
TARGET = x86_64-unknown-linux-musl
SCRIPTS = .ci/run .ci/setup tests/*.sh tests/bench/*.sh src/packaging/*.sh src/packaging/units/*.init
CARGO = cargo

all:
	$(CARGO) build --release $(CARGOFLAGS)

check: lint test

# The manual pages are checked by tests/man.rs.
lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets $(CARGOFLAGS) -- -D warnings
	if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else \
		echo 'skipped: shellcheck is not installed: .ci/setup installs it' >&2; \
		test "$$PLAKAR_TEST_SKIP" != deny; fi

# A test program that fails keeps no other from running.
test:
	$(CARGO) test --no-fail-fast $(CARGOFLAGS)

# Our parts beside the crates that do their work.
bench:
	$(CARGO) bench $(CARGOFLAGS) --bench chunker --bench stages --bench index --bench destination --bench remote
	@echo 'beside other programs: make bench-peers, told by tests/bench/compare.py -h'

# The program beside others, which are fetched, and so is what is backed up: 10 GB of disk
# and half an hour. Debian, as root; everything stays below $$BENCH, target/bench by default.
bench-peers: all
	tests/bench/peers.sh restic rest-server borg
	tests/bench/corpora.sh linux
	tests/bench/compare.py
	tests/bench/served.py
	tests/bench/sftp.py
	tests/bench/keep.py

# Backs up a directory, checks it, restores it and compares, in a temporary directory.
demo:
	tests/demo.sh

# One file that needs no other, for TARGET: x86_64-unknown-linux-musl,
# aarch64-unknown-linux-musl or armv7-unknown-linux-musleabihf.
static:
	src/packaging/static.sh $(TARGET)

# Runs that file where nothing else is, and the suite of commands with it; of other machines
# in an emulator, where there is one (qemu-user). As root.
static-check: static
	tests/static.sh $(TARGET)

# That file and all that is installed with it, as one archive.
dist: static
	src/packaging/dist.sh $(TARGET)

# Installs what `make` has built, so that root need not run a compiler. The completions are
# printed by the program that they are for. The units are examples: none is enabled.
install:
	test -x $(BINARY) || $(MAKE) all
	install -d $(DESTDIR)$(BINDIR)
	install -m 755 $(BINARY) $(DESTDIR)$(BINDIR)/plakar
	for page in man/*.[1-9]; do \
		section=$(DESTDIR)$(MANDIR)/man$${page##*.}; \
		install -d $$section && install -m 644 $$page $$section/ || exit 1; \
	done
	install -d $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	$(COMPLETER) completion bash > $(DESTDIR)$(BASHDIR)/plakar
	$(COMPLETER) completion zsh > $(DESTDIR)$(ZSHDIR)/_plakar
	$(COMPLETER) completion fish > $(DESTDIR)$(FISHDIR)/plakar.fish
	chmod 644 $(DESTDIR)$(BASHDIR)/plakar $(DESTDIR)$(ZSHDIR)/_plakar $(DESTDIR)$(FISHDIR)/plakar.fish
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DOCDIR)
	for unit in src/packaging/units/*.service src/packaging/units/*.timer; do \
		sed 's|/usr/local/bin/|$(BINDIR)/|' $$unit > $(DESTDIR)$(UNITDIR)/$${unit##*/} && \
		chmod 644 $(DESTDIR)$(UNITDIR)/$${unit##*/} || exit 1; \
	done
	sed 's|/usr/local/bin/|$(BINDIR)/|' src/packaging/units/plakar-server.init > $(DESTDIR)$(DOCDIR)/plakar-server.init
	chmod 755 $(DESTDIR)$(DOCDIR)/plakar-server.init
	install -m 644 README.md CHANGELOG.md LICENSE $(DESTDIR)$(DOCDIR)/

clean:
	$(CARGO) clean

.PHONY: all check lint test bench bench-peers demo static static-check dist install clean
