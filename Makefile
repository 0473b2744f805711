# `make help` says what there is.

PREFIX     ?= /usr/local
SBINDIR    ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec
MANDIR     ?= $(PREFIX)/share/man
LIBDIR     ?= $(PREFIX)/lib
SYSCONFDIR ?= /etc
DESTDIR    ?=
SECONDS_EACH ?= 60

CARGO   ?= cargo
INSTALL ?= install
TARGET  := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release

help:
	@echo 'make build                     build isatapd, isatapd-child and isatapctl'
	@echo 'make demo                      the main job and what goes wrong, to look at; installs the packages that it needs'
	@echo 'make install                   install them, with manual pages (DESTDIR=, PREFIX=$(PREFIX))'
	@echo 'make uninstall                 remove what install put there'
	@echo 'make test                      every test and check; installs what these need'
	@echo 'make lint                      formatting, clippy, crate rules, manual pages'
	@echo 'make fuzz                      fuzz each target (SECONDS_EACH=$(SECONDS_EACH))'
	@echo 'make bench                     data path and router'
	@echo 'make bench-control             what changes cost, beside isatapd 0.9.7 (ROW= for one row)'
	@echo 'make clean                     remove what was built'

# The parent starts $(LIBEXECDIR)/isatapd-child and nothing else: the path is compiled in.
# All are linked statically: the child has an empty root without a loader, and what runs as root
# loads no library. Cargo can do that for one package (not for the macros it uses) by `cargo rustc`.
STATIC := -- -C target-feature=+crt-static
build:
	@$(RM) $(RELEASE)/isatapd.libexecdir
	ISATAPD_LIBEXECDIR=$(LIBEXECDIR) $(CARGO) rustc --release --locked -p isatapd --bin isatapd $(STATIC)
	$(CARGO) rustc --release --locked -p isatapd-child --bin isatapd-child $(STATIC)
	$(CARGO) rustc --release --locked -p isatapctl --bin isatapctl $(STATIC)
	@echo $(LIBEXECDIR) >$(RELEASE)/isatapd.libexecdir

# file under dist/ : place. NetworkManager reads nothing under /usr/local.
DIST := sysusers.conf:$(LIBDIR)/sysusers.d/isatapd.conf \
	isatapd.service:$(LIBDIR)/systemd/system/isatapd.service \
	networkd.network:$(LIBDIR)/systemd/network/70-isatapd.network \
	networkmanager.conf:$(SYSCONFDIR)/NetworkManager/conf.d/90-isatapd.conf

# Builds nothing, as it may run by sudo, where there is no cargo.
install:
	@[ "$$(cat $(RELEASE)/isatapd.libexecdir)" = '$(LIBEXECDIR)' ] || \
		{ echo 'install: not built for this place: make build LIBEXECDIR=$(LIBEXECDIR)' >&2; exit 1; }
	$(INSTALL) -D -m 755 $(RELEASE)/isatapd $(DESTDIR)$(SBINDIR)/isatapd
	$(INSTALL) -D -m 755 $(RELEASE)/isatapctl $(DESTDIR)$(SBINDIR)/isatapctl
	$(INSTALL) -D -m 755 $(RELEASE)/isatapd-child $(DESTDIR)$(LIBEXECDIR)/isatapd-child
	$(INSTALL) -d $(DESTDIR)$(MANDIR)/man8
	$(INSTALL) -m 644 man/*.8 $(DESTDIR)$(MANDIR)/man8
	for d in $(DIST); do $(INSTALL) -D -m 644 dist/$${d%%:*} $(DESTDIR)$${d#*:} || exit; done
	sed -i 's|/usr/sbin/isatapd|$(SBINDIR)/isatapd|' $(DESTDIR)$(LIBDIR)/systemd/system/isatapd.service
	@getent passwd _isatapd >/dev/null || echo 'Now create the user of the child: systemd-sysusers,' \
		'or useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin _isatapd'

uninstall:
	$(RM) $(DESTDIR)$(SBINDIR)/isatapd $(DESTDIR)$(SBINDIR)/isatapctl $(DESTDIR)$(LIBEXECDIR)/isatapd-child
	$(RM) $(patsubst man/%,$(DESTDIR)$(MANDIR)/man8/%,$(wildcard man/*.8))
	for d in $(DIST); do $(RM) $(DESTDIR)$${d#*:} || exit; done

demo:
	tests/prepare demo
	$(MAKE) build
	tests/lab/demo $(abspath $(RELEASE))

test:
	tests/prepare
	tests/run

lint:
	tests/run --lint

# Needs a nightly compiler and cargo-fuzz.
fuzz:
	set -e; for t in $$($(CARGO) fuzz list --fuzz-dir tests/fuzz); do \
		mkdir -p tests/fuzz/corpus/$$t; \
		$(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz $$t tests/fuzz/corpus/$$t tests/fuzz/seeds/$$t -- \
			-max_len=4096 -max_total_time=$(SECONDS_EACH); \
	done

bench:
	tests/prepare
	tests/run --bench

bench-control:
	tests/prepare
	tests/run --bench-control $(ROW)

clean:
	$(CARGO) clean

.PHONY: help build demo install uninstall test lint fuzz bench bench-control clean
