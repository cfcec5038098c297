# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What every script here shares: where things lie, how to speak, how to name
# a cached product after what it is made from, and how to run something in
# the node's root without leaving a mount behind. Sourced, never run.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${HPCVM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hpcvm}
build=$top/build
kernels_all="6.1 6.12 7.2"
kernels_more="7.3" # on request: what backports has today
kernels_sanitizer="6.12-debug 6.12-kcsan"
mkdir -p "$cache/log"

say() { printf '[%s] %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# key FILE|STRING...: a short name for a product made from all of these.
key()
{
	local x
	for x in "$@"; do
		if [ -f "$x" ]; then sha256sum <"$x"; else printf '%s\n' "$x"; fi
	done | sha256sum | cut -c1-16
}

# turn NAME WHAT: wait for this script's turn at the cached product NAME, and
# keep it until the script ends.
turn()
{
	local fd begin=$SECONDS
	exec {fd}>"$cache/$1.lock"
	! flock -n "$fd" || return 0
	say "$2: another build is at it, waiting"
	until flock -w 15 "$fd"; do
		say "  ... waiting for $2, $((SECONDS - begin)) s"
	done
}

# quietly LOG CMD...: run CMD with its output in LOG, say that it is still at
# work every 15 seconds, and show the end of LOG if it fails.
quietly()
{
	local log=$1 pid rc=0 begin=$SECONDS said=$SECONDS
	shift
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		[ $((SECONDS - said)) -ge 15 ] || continue
		said=$SECONDS
		say "  ... $((said - begin)) s: $(tail -n 1 "$log" | tr -d '\r' | cut -c1-70)"
	done
	wait "$pid" || rc=$?
	if [ "$rc" -ne 0 ]; then
		tail -n 40 "$log" >&2
		say "failed with status $rc; the whole log: $log"
	fi
	return "$rc"
}

# debian_mirror: mirror is the one that this machine's apt knows, aptopts has what
# mmdebstrap needs to reach it as apt does, keyring what it is checked by.
debian_mirror()
{
	local line
	# shellcheck disable=SC2016 # apt expands it
	mirror=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 == "Debian" { sub("/*$", "", $2); print $2; exit }')
	[ -n "$mirror" ] || die "apt on this machine knows no Debian mirror (try: apt-get update)"
	aptopts=()
	while IFS= read -r line; do
		aptopts+=(--aptopt="$line")
	done < <(apt-config dump | grep -E '^Acquire::(http|https)::.*Proxy|^Acquire::Check-' || true)
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
}

# kernel_release ROOT KERNEL: which release the root has as 6.1, 6.12 or 7.2.
kernel_release() { awk -v k="$2" '$1 == k { print $2 }' "$1/etc/hpcvm-node/kernels"; }

# is_sanitizer KERNEL: is it one that scripts/node/debug-kernel builds?
is_sanitizer() { case " $kernels_sanitizer " in *" $1 "*) ;; *) return 1 ;; esac }

# find_kernel ROOT KERNEL: sets release, image (what boots), headers (what modules
# are built against), modules (what modprobe reads) and how (more words for
# the make of our module) of a kernel that a node can have: one of the root's
# packages, or a sanitizer kernel, built if nobody has yet.
# shellcheck disable=SC2034 # for whoever calls
find_kernel()
{
	local dir
	how=
	if is_sanitizer "$2"; then
		dir=$("$top/scripts/node/debug-kernel" "${2#*-}")
		release=$(cat "$dir/release")
		image=$dir/vmlinuz headers=$dir/headers modules=$dir/modules
		case $2 in *-debug) how="GCOV_PROFILE=y KCOV_INSTRUMENT=y" ;; esac
	else
		release=$(kernel_release "$1" "$2")
		[ -n "$release" ] ||
			die "no kernel $2; there are: $(cut -d' ' -f1 "$1/etc/hpcvm-node/kernels" | xargs) $kernels_sanitizer"
		image=$1/boot/vmlinuz-$release headers=$1/usr/src/linux-headers-$release
		modules=$1/lib/modules/$release
	fi
}

# inside ROOT PATH: where in_root ROOT has a path of the root or of the cache.
inside()
{
	case $2 in
	"$1"/*) echo "${2#"$1"}" ;;
	"$cache"/*) echo "/cache${2#"$cache"}" ;;
	esac
}

# emulator ROOT MEMORY CORES [THREADS]: the array board has the QEMU of the node's
# root, run by that root's own dynamic loader, and the node's board: an AMD
# CPU with SVM less what TCG cannot do, two NUMA nodes with MEMORY MiB and CORES
# each, of THREADS, an IOMMU with interrupt remapping.
emulator()
{
	local lib=$1/usr/lib/x86_64-linux-gnu
	local cpu=EPYC,+svm,+npt,+pdpe1gb,-rdseed,-sha-ni,-fxsr-opt,-misalignsse
	cpu+=,-3dnowprefetch,-osvw,-topoext,-nrip-save,-xsavec
	local cpus=$(($3 * ${4:-1}))
	# shellcheck disable=SC2034 # for whoever calls
	board=("$1/lib64/ld-linux-x86-64.so.2" --inhibit-cache
		--library-path "$lib:$lib/pulseaudio" "$1/usr/bin/qemu-system-x86_64"
		-L "$1/usr/share/qemu" -L "$1/usr/share/seabios"
		-nodefaults -no-user-config -display none -no-reboot
		-machine "q35,kernel-irqchip=split" -accel "tcg,thread=multi" -cpu "$cpu"
		-m "$((2 * $2))M" -smp "$((2 * cpus)),sockets=2,cores=$3,threads=${4:-1}"
		-object "memory-backend-ram,id=m0,size=$2M"
		-object "memory-backend-ram,id=m1,size=$2M"
		-numa "node,nodeid=0,memdev=m0,cpus=0-$((cpus - 1))"
		-numa "node,nodeid=1,memdev=m1,cpus=$cpus-$((2 * cpus - 1))"
		-numa "dist,src=0,dst=1,val=20"
		-device "intel-iommu,intremap=on,caching-mode=on")
}

# What a healthy kernel never prints, after the time stamp (extended regular
# expression). Most of it panics anyway, by panic_on_warn and oops=panic.
complaints='^(\[[^]]*\] )?(BUG|WARNING|Oops|UBSAN|KFENCE|refcount_t|watchdog: BUG'
complaints+='|general protection fault|unregister_netdevice|ODEBUG)\b.*:'
complaints+='|INFO: trying to register|kmemleak: [0-9]+ new'
complaints+='|Call Trace:|Kernel panic - |INFO: task .* blocked|rcu: INFO: .* stall'

# The kernel's command line on that board: every warning ends the node. Nothing
# speculates there: what guards against it only costs time (6 % of the instructions
# that start a program).
kernel_words="console=ttyS0 panic_on_warn=1 oops=panic panic=-1 tsc=reliable no_timer_check"
kernel_words+=" intel_iommu=on iommu=pt mitigations=off"

# need_root: the node's root and its chroot want real root.
need_root() { [ "$(id -u)" -eq 0 ] || die "this needs root (to build and enter the node's root file system)"; }

# in_root ROOT CMD...: run CMD as root inside ROOT, with the checkout at
# /hpcvm and the cache at /cache. The mounts live in a mount namespace of
# their own and die with the command. Changes to / are thrown away.
in_root()
{
	local root=$1
	shift
	mkdir -p "$build" "$cache"
	unshare --mount --propagation private sh -euc '
		root=$1 top=$2 cache=$3; shift 3
		mount -t tmpfs none /mnt
		mkdir /mnt/up /mnt/work /mnt/root
		mount -t overlay none -o "lowerdir=$root,upperdir=/mnt/up,workdir=/mnt/work" /mnt/root
		mkdir -p /mnt/root/hpcvm /mnt/root/cache
		mount --rbind "$top" /mnt/root/hpcvm
		mount --rbind "$cache" /mnt/root/cache
		mount --rbind /dev /mnt/root/dev
		mount -t proc none /mnt/root/proc
		exec chroot /mnt/root env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
			PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
	' in_root "$root" "$top" "$cache" "$@"
}
