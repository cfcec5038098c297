# SPDX-License-Identifier: GPL-2.0-only
# hpcvm: two commands do everything on a fresh Debian machine, as root:
#
#	make run	the main job, on an emulated node built on the spot
#	make check	all tests on all kernels
#
# `make help` lists the rest.

KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= $(CURDIR)/build
W ?= 1
DEPMOD ?= depmod
KERNEL ?= 6.12
KERNELS ?= 6.1 6.12 7.2
QEMU ?= $(BUILD)/qemu/bin/qemu-system-hpcvm

version = $(shell cat VERSION)
# The release as the module loader compares it.
release = $(shell sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h 2>/dev/null)
tree = $(BUILD)/$(release)/tree
importer = $(BUILD)/$(release)/importer
emulator = $(PREFIX)/bin/qemu-system-hpcvm
unit = /usr/lib/systemd/system/hpcvm-reserve.service

.PHONY: all
all: modules user

# The module is built in a copy of its sources, one a kernel, so that several
# kernels' objects lie side by side.
.PHONY: modules
modules:
	@test -n "$(release)" || { echo "No kernel headers at $(KDIR): install linux-headers-$$(uname -r), or say KDIR=..." >&2; exit 1; }
	@mkdir -p $(tree)/src
	@cp -pru Kbuild VERSION include $(tree)
	@cp -pru src/hpcvm $(tree)/src
	+@$(MAKE) --no-print-directory -C $(KDIR) M=$(tree) W=$(W) KCFLAGS=-Werror modules
	@cp $(tree)/src/hpcvm/hpcvm.ko $(BUILD)/$(release)/

# What the tests need of a kernel besides: an importer of dma-bufs.
.PHONY: test-modules
test-modules: modules
	@mkdir -p $(importer)
	@cp -pu selftests/importer/* $(importer)
	+@$(MAKE) --no-print-directory -C $(KDIR) M=$(importer) W=$(W) KCFLAGS=-Werror modules
	@cp $(importer)/hpcvm_importer.ko $(BUILD)/$(release)/

.PHONY: user
user:
	+@$(MAKE) --no-print-directory -C src O=$(BUILD)/user PREFIX=$(PREFIX)

.PHONY: qemu
qemu:
	@mkdir -p $(BUILD)
	@ln -sfn "$$(scripts/build-qemu)" $(BUILD)/qemu

# Everything that an emulated node needs, in the node's own root.
.PHONY: node-build
node-build:
	scripts/node/build $(KERNEL)

.PHONY: run
run:
	@KERNEL=$(KERNEL) scripts/run

.PHONY: check
check:
	@KERNELS="$(KERNELS)" TESTS="$(TESTS)" scripts/check

.PHONY: check-debug
check-debug:
	@DEBUG="$(DEBUG)" TESTS="$(TESTS)" scripts/check-debug

# SECONDS is bash's own.
.PHONY: fuzz
fuzz:
	@FUZZ_SECONDS="$(SECONDS)" SEED="$(SEED)" THREADS="$(THREADS)" REPLAY="$(REPLAY)" \
		$(if $(filter command line,$(origin KERNEL)),KERNEL="$(KERNEL)") scripts/fuzz

.PHONY: bench
bench:
	@KERNEL=$(KERNEL) NODE="$(NODE)" BENCH="$(BENCH)" scripts/bench

.PHONY: stress
stress:
	@KERNEL=$(KERNEL) CLAIMS="$(CLAIMS)" ROUNDS="$(ROUNDS)" SEED="$(SEED)" scripts/stress

.PHONY: lint
lint:
	@scripts/lint

.PHONY: mutants
mutants:
	@KERNEL=$(KERNEL) MUTANTS="$(MUTANTS)" scripts/mutants

.PHONY: doc
doc:
	@scripts/abi-doc

# Puts on this machine what `make` and `make qemu` have built. Whoever wants
# the module from DKMS says `make dkms-install install-user` instead.
.PHONY: install
install: install-module install-user

.PHONY: install-module
install-module:
	@test ! -e $(DESTDIR)/var/lib/dkms/hpcvm || { echo "The module is DKMS's here: make install-user installs the rest; make dkms-uninstall takes the module out of DKMS." >&2; exit 1; }
	@test -e $(BUILD)/$(release)/hpcvm.ko || { echo "Nothing built for Linux $(release): run make first." >&2; exit 1; }
	install -D -m 644 $(BUILD)/$(release)/hpcvm.ko $(DESTDIR)/lib/modules/$(release)/updates/hpcvm.ko
	$(if $(DESTDIR),,$(DEPMOD) $(release))

.PHONY: install-user
install-user:
	+@$(MAKE) --no-print-directory -C src O=$(BUILD)/user PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) install
	install -D -m 644 scripts/install/60-hpcvm.rules $(DESTDIR)/usr/lib/udev/rules.d/60-hpcvm.rules
	install -D -m 644 scripts/install/modules-load.conf $(DESTDIR)/usr/lib/modules-load.d/hpcvm.conf
	install -D -m 644 scripts/install/hpcvm-reserve.service $(DESTDIR)$(unit)
	sed -i 's,@PREFIX@,$(PREFIX),' $(DESTDIR)$(unit)
	@if test -e "$(QEMU)"; then install -v -D -m 755 "$(QEMU)" $(DESTDIR)$(emulator); else \
		echo "Without the machine type: no $(QEMU); make qemu builds it." >&2; fi
	DESTDIR=$(DESTDIR) scripts/install/libvirt apply $(emulator)
	$(if $(DESTDIR),,-udevadm control --reload)

# The module by DKMS: built for this kernel now and for later ones as they come.
.PHONY: dkms-install
dkms-install: uninstall-module
	DESTDIR=$(DESTDIR) scripts/install/dkms apply $(version) $(release)

.PHONY: dkms-uninstall
dkms-uninstall:
	DESTDIR=$(DESTDIR) scripts/install/dkms undo

.PHONY: uninstall-module
uninstall-module:
	@for ko in $(DESTDIR)/lib/modules/*/updates/hpcvm.ko; do \
		test -e $$ko || continue; \
		rm -v $$ko; rmdir $$(dirname $$ko) 2>/dev/null || true; \
		$(if $(DESTDIR),:,$(DEPMOD)) $$(basename $$(dirname $$(dirname $$ko))); \
	done

.PHONY: uninstall
uninstall: uninstall-module
	+@$(MAKE) --no-print-directory -C src O=$(BUILD)/user PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) uninstall
	rm -f $(DESTDIR)/usr/lib/udev/rules.d/60-hpcvm.rules $(DESTDIR)/usr/lib/modules-load.d/hpcvm.conf
	rm -f $(DESTDIR)$(emulator) $(DESTDIR)$(unit)
	DESTDIR=$(DESTDIR) scripts/install/libvirt undo $(emulator)
	$(if $(DESTDIR),,-udevadm control --reload)

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: help
help:
	@echo 'As root, on a Debian 12 or 13 machine, packages included:'
	@echo '  make run [KERNEL=6.1|6.12|7.2] [NODE=local]   the main job, with proof'
	@echo '  make check [KERNELS="..."] [TESTS="..."]      all tests on all kernels'
	@echo '  make bench [NODE=local]                       figures, each beside the stock way'
	@echo '  make stress [ROUNDS=500] [CLAIMS=1000]        storms: kills, hotplug, pressure, rmmod'
	@echo '  make check-debug [DEBUG=kcsan] [TESTS="..."]  the tests on a sanitizer kernel,'
	@echo '                                                and the lines they have executed'
	@echo '  make fuzz [SECONDS=600] [SEED=1] [THREADS=4]  a fuzzer for /dev/hpcvm, there too;'
	@echo '       make fuzz REPLAY=FILE                    a round that it has left'
	@echo '  make lint                                     style and static checks'
	@echo '  make mutants [KERNEL=...] [MUTANTS="..."]     would the tests see planted faults?'
	@echo 'On a node:'
	@echo '  make [KDIR=...]        the module for this kernel, the library, the command'
	@echo '  make qemu              qemu-system-hpcvm, with the machine type'
	@echo '  make install           put all of it on this machine; make uninstall undoes it'
	@echo '  make dkms-install install-user   the same, with the module by DKMS; also'
	@echo '                         install-module, dkms-uninstall'
	@echo '  make doc               the ABI reference, build/doc/abi.rst'
	@echo '  make clean             remove build/ (not the cache)'
