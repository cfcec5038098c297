# SPDX-License-Identifier: GPL-2.0-only
# Debian's Open MPI over libfabric and rxe, with hpcvm's memory monitor and nothing
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
# cost ROUNDS: how often pages were pinned for so many, start and end included
cost()
{
	local before
	before=$(pins)
	over_fabric "$1" >"$work/said" 2>&1 || { cat "$work/said" >&2; echo failed; return; }
	echo $(($(pins) - before))
}
no_slots() { [ "$(cat /sys/class/misc/hpcvm/monitors/slots)" = 0 ]; }
few() { echo "$1, then $2"; [ "$1" -gt 0 ] && [ $(($2 - $1)) -le 10 ]; }
many() { echo "$1, then $2"; [ "$1" -gt 0 ] && [ $(($2 - $1)) -ge 100 ]; }

preload=$PWD/build/user/libhpcvm-fabric.so none=''
ok "memory that is mapped anew arrives as it is" over_fabric 50 remap
ok "nobody watches when they have ended" within 5 no_slots
short=$(cost 20) long=$(cost 120)
echo "# pinned for 20 rounds: $short, for 120: $long"
ok "100 rounds more pin nothing" few "$short" "$long"
# Open MPI brings a monitor of its own, so to name none would not do.
preload='' none=1
short=$(cost 20) long=$(cost 120)
echo "# without a cache, for 20 rounds: $short, for 120: $long"
ok "without a cache each would" many "$short" "$long"

rxe_down
ok "the module unloads" rmmod hpcvm
plan
