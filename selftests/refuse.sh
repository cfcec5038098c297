# SPDX-License-Identifier: GPL-2.0-only
# What the machine type refuses, as `virsh start` shows it: in one sentence
# that says what is missing and what to do, leaving nothing behind.

. "$(dirname "$0")/flow.sh"
node_up

# refused_start NAME WORDS SED
refused_start()
{
	domain r "$3" >"$work/define" 2>&1 || cat "$work/define"
	fails "$1" "$2" virsh start r
	ok "  nothing is left" sh -c "$(declare -f no_vms pool_is free_pages); vms=$vms; pool=$pool; no_vms && pool_is 300"
	gone r
}

set_pool 300
refused_start "pool short: how many pages" "724 hugepages" "$strip"
domain r "$strip" >/dev/null
virsh start r >"$work/said" 2>&1
cure=$(grep -o 'echo [0-9]* > /sys/[^ ]*nr_hugepages' "$work/said" | head -n 1)
ok "the command that it names" test -n "$cure"
sh -c "$cure"
ok "  makes it start" virsh start r
gone r
within 10 sh -c "[ \$(cat $pool/free_hugepages) = 1024 ]"
set_pool 300

refused_start "size not in hugepages" "multiple of 2 MiB" "$strip; s|2097152|525312|"
refused_start "memfd of ordinary pages" "add <hugepages/>" \
	"$small; s|<vcpu>|<memoryBacking><source type='memfd'/></memoryBacking>&|"
refused_start "file of ordinary pages" "add <hugepages/>" \
	"$small; s|<vcpu>|<memoryBacking><source type='file'/></memoryBacking>&|"
refused_start "a NUMA cell not in hugepages" "multiple of 2 MiB" \
	"$small; s|<vcpu>1|<vcpu>2|; s|<cpu mode='host-passthrough'/>|<cpu mode='host-passthrough'><numa><cell id='0' cpus='0' memory='255' unit='MiB'/><cell id='1' cpus='1' memory='257' unit='MiB'/></numa></cpu>|"
fails "memory that is not RAM" "is not the guest's RAM" timeout $((60 * ${HPCVM_SLOW:-1})) qemu-system-hpcvm \
	-M pc-q35-hpcvm-1.0 -accel kvm -m 64 -nodefaults -display none \
	-object memory-backend-ram,id=other,size=64M
ok "  nothing is left" within 10 pool_is 300
refused_start "maxMemory" "maxMemory" \
	"$small; s|<memory unit|<maxMemory slots='2' unit='KiB'>1048576</maxMemory>&|; s|<cpu mode='host-passthrough'/>|<cpu mode='host-passthrough'><numa><cell id='0' cpus='0' memory='512' unit='MiB'/></numa></cpu>|"
refused_start "free page reporting" "freePageReporting" \
	"$small; s|<devices>|&<memballoon model='virtio' freePageReporting='on'/>|"

# Without the module.
rmmod hpcvm
domain r "$small" >/dev/null
fails "the module is not loaded" "modprobe hpcvm" virsh start r
gone r
load

# Two domains race for the last pages: one runs, the other is told.
set_pool 400
domain r1 "$small" >/dev/null
domain r2 "$small" >/dev/null
virsh start r1 >"$work/r1" 2>&1 &
one=$!
virsh start r2 >"$work/r2" 2>&1 &
two=$!
wait "$one"
one=$?
wait "$two"
two=$?
is "of two that race for the last pages one starts" $((one + two)) 1
ok "the other is told how many are missing" sh -c "cat $work/r1 $work/r2 | grep 'hugepages of 2 MiB are missing'"
is "the one that runs has its pages" "$(free_pages)" $((400 - 256))
gone r1
gone r2
ok "every page is back" within 10 pool_is 400

# A second hpcvm machine on a node without a free page, while one runs.
domain r1 "$small" >/dev/null
ok "a domain starts" virsh start r1
domain r2 "$small" >/dev/null
fails "a second one finds the pool short" "112 hugepages" virsh start r2
ok "the first one is as it was" hpcvm proof r1
gone r1
gone r2
ok "every page is back" within 10 pool_is 400
plan
