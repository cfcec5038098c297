# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# A soft RDMA device (rxe0, 192.0.2.1) over the first network card, a kprobe that counts
# who pins pages, whoever it is, and Open MPI over both. Sourced, on a node and in a guest.

tracing=/sys/kernel/tracing

rxe_up()
{
	# shellcheck disable=SC2012 # names of devices
	netdev=$(ls -d /sys/class/net/*/device | head -n 1 | cut -d/ -f5)
	modprobe rdma_rxe
	ip address add 192.0.2.1/24 dev "$netdev"
	# Messages of 4 KiB: a quarter of the packets.
	ip link set "$netdev" mtu 9000 2>/dev/null || true
	ip link set "$netdev" up
	rdma link add rxe0 type rxe netdev "$netdev"
	udevadm settle 2>/dev/null || true
	echo 'p:pin pin_user_pages_fast' >$tracing/kprobe_events
	echo 1 >$tracing/events/kprobes/pin/enable
}

rxe_down()
{
	echo 0 >$tracing/events/kprobes/pin/enable
	echo >$tracing/kprobe_events
	rdma link delete rxe0
	ip address delete 192.0.2.1/24 dev "$netdev"
	ip link set "$netdev" down
	ip link set "$netdev" mtu 1500
}

pins() { awk '$1 == "pin" { print $2 }' $tracing/kprobe_profile; }

# mpi_over fabric|ucx CACHE PROGRAM [ARG...]: two processes. CACHE: what says whether a
# kept registration is valid: hpcvm, whose libraries are in $libs; stock, which is a
# monitor of Open MPI's or UCX's; or none, nothing is kept. (Open MPI brings its monitor
# along, so to name none to libfabric would not do.)
libs=$PWD/build/user
mpi_over()
{
	local over=$1 cache=$2
	shift 2
	export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
	case $cache in
	hpcvm) set -- -x "LD_PRELOAD=$libs/libhpcvm-$over.so" "$@" ;;
	none) set -- -x FI_MR_CACHE_MAX_COUNT=0 -x UCX_RCACHE_ENABLE=n "$@" ;;
	esac
	case $over in
	fabric)
		# rxm makes a queue for so many peers; for its 1024 rxe has none that is long enough.
		set -- --mca pml cm --mca mtl ofi --mca mtl_ofi_provider_include 'verbs;ofi_rxm' \
			-x FI_UNIVERSE_SIZE=16 -x FI_VERBS_MR_CACHE_ENABLE=1 "$@"
		;;
	ucx) set -- --mca pml ucx -x UCX_TLS=rc_verbs,tcp "$@" ;;
	esac
	timeout 300 mpirun -n 2 "$@"
}
