# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A soft RDMA device (rxe0, 192.0.2.1) over the first network card, and a kprobe that
# counts who pins pages, whoever it is. Sourced, on a node and in a guest.

tracing=/sys/kernel/tracing

rxe_up()
{
	# shellcheck disable=SC2012 # names of devices
	netdev=$(ls -d /sys/class/net/*/device | head -n 1 | cut -d/ -f5)
	modprobe rdma_rxe
	ip address add 192.0.2.1/24 dev "$netdev"
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
}

pins() { awk '$1 == "pin" { print $2 }' $tracing/kprobe_profile; }
