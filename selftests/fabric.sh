# SPDX-License-Identifier: GPL-2.0-only
# libfabric with hpcvm's memory monitor, over rxe (selftests/fabric.c): a soft RDMA
# device, and a kprobe that counts who pins pages.

set -eu
cd "$(dirname "$0")/.."
netdev=$(basename "$(readlink -f /sys/class/net/*/device/net/* | head -n 1)")
tracing=/sys/kernel/tracing

insmod "$HPCVM_KO"
modprobe rdma_rxe
ip address add 192.0.2.1/24 dev "$netdev"
ip link set "$netdev" up
rdma link add rxe0 type rxe netdev "$netdev"
udevadm settle
echo 'p:pin pin_user_pages_fast' >$tracing/kprobe_events
echo 1 >$tracing/events/kprobes/pin/enable

LD_PRELOAD=$PWD/build/user/libhpcvm-fabric.so FI_VERBS_MR_CACHE_ENABLE=1 build/selftests/fabric "$@"

echo 0 >$tracing/events/kprobes/pin/enable
echo >$tracing/kprobe_events
rdma link delete rxe0
ip address delete 192.0.2.1/24 dev "$netdev"
rmmod hpcvm
