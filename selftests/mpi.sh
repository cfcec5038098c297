# SPDX-License-Identifier: GPL-2.0-only
# Debian's Open MPI over libfabric and over UCX, on rxe, with hpcvm's monitor and nothing
# patched: two processes send from memory that stays, which is registered once, and
# from memory that is mapped anew, which arrives as it is.

. "$(dirname "$0")/flow.sh"
. selftests/rxe.sh
insmod "$HPCVM_KO"
rxe_up
ulimit -l unlimited

# cost CACHE ROUNDS: how often pages were pinned for so many, start and end included
cost()
{
	local before
	before=$(pins)
	mpi_over "$over" "$1" build/selftests/mpi "$2" >"$work/said" 2>&1 ||
		{ cat "$work/said" >&2; echo failed; return; }
	echo $(($(pins) - before))
}
no_slots() { [ "$(cat /sys/class/misc/hpcvm/monitors/slots)" = 0 ]; }
few() { echo "$1, then $2"; [ "$1" -gt 0 ] && [ $(($2 - $1)) -le 10 ]; }
many() { echo "$1, then $2"; [ "$1" -gt 0 ] && [ $(($2 - $1)) -ge 100 ]; }

for over in fabric ucx; do
	ok "$over: memory that is mapped anew arrives as it is" \
		mpi_over "$over" hpcvm build/selftests/mpi 50 remap
	ok "$over: nobody watches when they have ended" within 5 no_slots
	short=$(cost hpcvm 20) long=$(cost hpcvm 120)
	echo "# $over: pinned for 20 rounds: $short, for 120: $long"
	ok "$over: 100 rounds more pin nothing" few "$short" "$long"
	short=$(cost none 20) long=$(cost none 120)
	echo "# $over, without a cache, for 20 rounds: $short, for 120: $long"
	ok "$over: without a cache each would" many "$short" "$long"
done

rxe_down
ok "the module unloads" rmmod hpcvm
plan
