# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the whole-node flows share: TAP, and a node as an administrator would
# make it: hpcvm from `make install`, libvirt running. Sourced by the tests of
# this folder, which run as root on a node of their own (scripts/node/run).

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
top=$PWD
work=$(mktemp -d)
vms=/sys/class/misc/hpcvm/vms
cores=/sys/class/misc/hpcvm/cores
pool=/sys/kernel/mm/hugepages/hugepages-2048kB
pool_1g=/sys/kernel/mm/hugepages/hugepages-1048576kB
n=0
trap 'rm -rf "$work"' EXIT

# ok NAME CMD...: passes if CMD succeeds; its output is shown if it does not.
ok()
{
	local name=$1 status=0
	shift
	n=$((n + 1))
	"$@" >"$work/ok" 2>&1 </dev/null || status=$?
	if [ "$status" -eq 0 ]; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		echo "# status $status of: $*"
		tail -n 20 "$work/ok" | sed 's/^/# /'
	fi
}

# is NAME GOT WANTED
is() { ok "$1" same "$2" "$3"; }
same() { [ "$1" = "$2" ] || { echo "got:    $1"; echo "wanted: $2"; return 1; }; }

# fails NAME WORDS CMD...: passes if CMD fails and says WORDS (a fixed string).
fails() { local name=$1; shift; ok "$name" refused "$@"; }
refused()
{
	local words=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		echo "it did not fail, and said:"
		cat "$work/said"
		return 1
	fi
	cat "$work/said"
	grep -qF -- "$words" "$work/said" || { echo "it did not say: $words"; return 1; }
}

plan() { echo "1..$n"; }

# within SECONDS CMD...: wait for CMD to succeed.
within()
{
	local i
	for ((i = 0; i < $1 * 5 * ${HPCVM_SLOW:-1}; i++)); do
		"${@:2}" >/dev/null 2>&1 && return
		sleep 0.2
	done
	echo "not within $1 s: ${*:2}"
	return 1
}

free_pages() { cat "$pool/free_hugepages"; }
pool_is() { [ "$(free_pages)" = "$1" ] && [ "$(cat "$pool/resv_hugepages")" = 0 ]; }
no_claims() { [ -z "$(cat "$cores/claimed")" ]; }
no_vms() { [ -z "$(ls -A "$vms")" ]; }
set_pool() { echo "$1" >"$pool/nr_hugepages"; }
# So many that are whole: a page that events has broken stays in the pool.
whole_pool() { set_pool 0; set_pool $(($1 + $(cat "$pool/nr_hugepages"))); }

# The built emulator, as a node sees the cache.
built_qemu() { echo "/cache/$(basename "$(readlink build/qemu)")/bin/qemu-system-hpcvm"; }

# The module, with all cores but CPU 0's for guests.
load()
{
	modprobe hpcvm && udevadm settle && echo 1-3 >"$cores/claimable"
}

# install and load, udev included, and a libvirt that runs: once a node. Without
# AppArmor unless it is asked for (apparmor=1): compiling a profile four times is most
# of what the start of a domain costs in an emulated node.
node_up()
{
	[ -n "${apparmor:-}" ] || grep -qx 'security_driver = "none"' /etc/libvirt/qemu.conf ||
		echo 'security_driver = "none"' >>/etc/libvirt/qemu.conf
	[ -e /run/hpcvm-installed ] ||
		make install DEPMOD=scripts/node/depmod QEMU="$(built_qemu)" >"$work/install" 2>&1 ||
		{ cat "$work/install"; echo "Bail out! make install failed"; exit 1; }
	touch /run/hpcvm-installed
	load
	virsh uri >/dev/null 2>&1 || scripts/node/libvirt >/dev/null 2>&1
}

# domain NAME [SED]: the example domain under another name, changed by SED.
domain()
{
	sed -e "s|<name>.*</name>|<name>$1</name>|; s|hpcvm-example-console|$1-console|" \
		-e "s|quiet panic|mitigations=off &|" ${2:+-e "$2"} \
		Documentation/examples/hpcvm.xml >"$work/$1.xml"
	virsh define "$work/$1.xml"
}

# For domain: without a kernel its CPU waits in the firmware, one on any core;
# small: of 512 MiB.
strip='/<kernel>\|<initrd>\|<cmdline>/d; /<filesystem type/,/<\/filesystem>/d'
strip+='; s|<vcpu>3|<vcpu>1|; /<cputune>/,/<\/cputune>/d'
small="$strip; s|2097152|524288|"

# What the guest boots is a stock kernel, whatever this node's is.
guest_release=${RELEASE:-$(uname -r)}
guest_initrd() { ls -t /cache/initrd-"$guest_release"-* | head -n 1; }

# guest_files JOB: what the example domain boots, with JOB to be run in it.
guest_files()
{
	scripts/node/guest-prepare /lower "$(guest_initrd)" "$1"
}

gone()
{
	virsh destroy "$1" >/dev/null 2>&1
	virsh undefine "$1" >/dev/null 2>&1
}
