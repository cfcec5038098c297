# SPDX-License-Identifier: GPL-2.0-only
# The last test of a node with a sanitizer kernel (make check-debug): what has
# leaked, and whether each of them was still watching when the tests were over.
# What they had to say before is in the console and has failed the run. Leaves
# what gcov has counted in COVERAGE.

. "$(dirname "$0")/flow.sh"
debug=/sys/kernel/debug

# kmemleak spares what is younger than five seconds, and what has changed
# since its last scan.
leaks()
{
	local i
	for i in 1 2; do
		sleep 6
		echo scan >"$debug/kmemleak" || return
	done
	cat "$debug/kmemleak"
}
nothing_leaked()
{
	leaks >"$work/leaks" 2>&1 && [ ! -s "$work/leaks" ] && return
	cat "$work/leaks"
	return 1
}

# Twice: while the module is there its functions have names, and when it is
# gone nothing hides what it had kept.
virsh uri >/dev/null 2>&1 && pkill libvirtd
[ -e /sys/module/hpcvm ] || insmod "$HPCVM_KO"
ok "nothing has leaked (kmemleak)" nothing_leaked
ok "rmmod hpcvm" within 20 rmmod hpcvm
ok "nothing has leaked when the module is gone (kmemleak)" nothing_leaked
ok "lockdep has watched to the end" grep -E '^ *debug_locks: *1$' /proc/lockdep_stats
[ ! -e "$debug/kcsan" ] || ok "KCSAN has watched" grep -E 'setup_watchpoints: *[1-9]' "$debug/kcsan"

counted=$debug/gcov/hpcvm/build/$(uname -r)/tree/src/hpcvm
if [ -n "${COVERAGE:-}" ] && [ -d "$counted" ]; then
	mkdir -p "$COVERAGE"
	for f in "$counted"/*.gcda; do cat "$f" >"$COVERAGE/${f##*/}"; done
fi
plan
