# SPDX-License-Identifier: GPL-2.0-only
# The same module in a guest, whose kernel is a stock one and has no KVM: libfabric's
# and Open MPI's registrations are kept there as on the node. What ran in the guest is
# what runs on the node (selftests/fabric.c, selftests/mpi.c); its results are told here.

. "$(dirname "$0")/flow.sh"
node_up
share=/var/lib/hpcvm/guest/share

cat >"$work/job" <<'END'
cd /share
mount -t tracefs none /sys/kernel/tracing
modprobe virtio_net
ulimit -l unlimited
. ./rxe.sh
libs=/share
insmod ./hpcvm.ko
rxe_up
lsmod | grep -c ^kvm >kvm
ROUNDS=1000 FI_VERBS_MR_CACHE_ENABLE=1 LD_PRELOAD=/share/libhpcvm-fabric.so ./fabric >tap 2>&1
for rounds in 10 40; do
	before=$(pins)
	mpi_over fabric hpcvm ./mpi $rounds >mpi.log 2>&1 || echo failed >mpi-$rounds
	[ -e mpi-$rounds ] || echo $(($(pins) - before)) >mpi-$rounds
done
rxe_down
rmmod hpcvm
END
card="s|</devices>|<interface type='user'><model type='virtio'/></interface>&|"
# It has left its status, or there is no guest (any more) that could.
over() { [ -e "$share/status" ] || ! virsh domstate inside | grep -q running; }
few() { echo "$2 pins in 10 rounds, $1 in 40"; [ "$2" -gt 0 ] && [ $(($1 - $2)) -le 10 ]; }

whole_pool 1024
ok "what the guest needs" scripts/node/guest-prepare /lower "$(guest_initrd)" "$work/job" \
	selftests/rxe.sh build/selftests/fabric build/selftests/mpi \
	build/user/libhpcvm-fabric.so "$HPCVM_KO"
ok "virsh define" domain inside "$card"
ok "virsh start" virsh start inside
ok "the guest has done it" within 900 over
is "  and says so" "$(cat "$share/status" 2>&1)" 0
is "it has no KVM" "$(cat "$share/kvm" 2>&1)" 0
while read -r line; do
	case $line in
	"ok "* | "not ok "*) is "in the guest: ${line##* }" "${line%% *}" ok ;;
	"#"*) echo "# ${line#\# }" ;;
	esac
done <"$share/tap"
ok "all of them ran" grep -q '^# PASSED: ' "$share/tap"
ok "in the guest: 30 rounds of MPI more pin nothing" few "$(cat "$share/mpi-40")" "$(cat "$share/mpi-10")"
gone inside
set_pool 0
plan
