# SPDX-License-Identifier: GPL-2.0-only
# Debian's Open MPI over libfabric and over UCX, on rxe, with hpcvm's monitor and nothing
# patched: two processes send from memory that stays, which is registered once, and
# from memory that is mapped anew, which arrives as it is.

. "$(dirname "$0")/flow.sh"
. selftests/rxe.sh
insmod "$HPCVM_KO"
rxe_up
ulimit -l unlimited

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# rxm makes a queue for so many peers; for its 1024 rxe has no queue that is long enough.
export FI_UNIVERSE_SIZE=16 FI_VERBS_MR_CACHE_ENABLE=1

# over_fabric ROUNDS [remap]; what the environment says besides
over_fabric()
{
	timeout 120 mpirun -n 2 --mca pml cm --mca mtl ofi \
		--mca mtl_ofi_provider_include 'verbs;ofi_rxm' -x FI_UNIVERSE_SIZE \
		-x FI_VERBS_MR_CACHE_ENABLE ${preload:+-x LD_PRELOAD="$preload"} \
		${none:+-x FI_MR_CACHE_MAX_COUNT=0} build/selftests/mpi "$@"
}
over_ucx()
{
	timeout 120 mpirun -n 2 --mca pml ucx -x UCX_TLS=rc_verbs,tcp \
		${preload:+-x LD_PRELOAD="$preload"} ${none:+-x UCX_RCACHE_ENABLE=n} \
		build/selftests/mpi "$@"
}
# cost OVER ROUNDS: how often pages were pinned for so many, start and end included
cost()
{
	local before
	before=$(pins)
	"$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; echo failed; return; }
	echo $(($(pins) - before))
}
no_slots() { [ "$(cat /sys/class/misc/hpcvm/monitors/slots)" = 0 ]; }
few() { echo "$1, then $2"; [ "$1" -gt 0 ] && [ $(($2 - $1)) -le 10 ]; }
many() { echo "$1, then $2"; [ "$1" -gt 0 ] && [ $(($2 - $1)) -ge 100 ]; }

for over in fabric ucx; do
	preload=$PWD/build/user/libhpcvm-$over.so none=''
	ok "$over: memory that is mapped anew arrives as it is" "over_$over" 50 remap
	ok "$over: nobody watches when they have ended" within 5 no_slots
	short=$(cost "over_$over" 20) long=$(cost "over_$over" 120)
	echo "# $over: pinned for 20 rounds: $short, for 120: $long"
	ok "$over: 100 rounds more pin nothing" few "$short" "$long"
	# Open MPI brings a monitor of its own, so to name none would not do.
	preload='' none=1
	short=$(cost "over_$over" 20) long=$(cost "over_$over" 120)
	echo "# $over, without a cache, for 20 rounds: $short, for 120: $long"
	ok "$over: without a cache each would" many "$short" "$long"
done

rxe_down
ok "the module unloads" rmmod hpcvm
plan
