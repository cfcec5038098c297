# SPDX-License-Identifier: GPL-2.0-only
# hpcvm: two commands do everything on a fresh Debian machine, as root:
#
#	make run	the main job, on an emulated node built on the spot
#	make check	all tests on all kernels
#
# `make help` lists the rest.

KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
O ?= $(CURDIR)/build
W ?= 1

# The release as the module loader compares it.
release = $(shell sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h 2>/dev/null)
tree = $(O)/$(release)/tree

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
	@cp $(tree)/src/hpcvm/hpcvm.ko $(O)/$(release)/
