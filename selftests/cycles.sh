# SPDX-License-Identifier: GPL-2.0-only
# Nothing is lost: the life of a domain by virsh, ROUNDS times in a row, then
# QEMU killed at many moments of its start. HugePages_Free, our sysfs tree and
# the kernel's warnings are as before. Three rounds, for time's sake; ROUNDS=10 make
# check TESTS=cycles does ten.

. "$(dirname "$0")/flow.sh"
node_up
set_pool 256

tree() { find /sys/class/misc/hpcvm/ | sort; }
# A slow emulator makes the kernel complain of its clock.
warnings() { dmesg --level=emerg,alert,crit,err,warn | grep -v 'interrupt took\|clocksource\|TSC rate'; }
tree >"$work/tree"
warnings >"$work/warnings"

cycle()
{
	domain "c$1" "$small" && virsh start "c$1" && hpcvm proof "c$1" &&
		virsh dumpxml "c$1" | grep -q pc-q35-hpcvm-1.0 &&
		virsh destroy "c$1" && virsh undefine "c$1" && within 10 pool_is 256
}
for i in $(seq "${ROUNDS:-3}"); do
	ok "define, start, prove, dumpxml, destroy, undefine: round $i" cycle "$i"
done
ok "sysfs is as before" sh -c "find /sys/class/misc/hpcvm/ | sort | diff $work/tree -"

# QEMU without libvirt, killed after so many hundredths of a second.
killed()
{
	qemu-system-hpcvm -machine pc-q35-hpcvm-1.0 -accel kvm -m 512 -nodefaults -display none &
	local pid=$!
	sleep "$1"
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	within 10 pool_is 256 && no_vms
}
for s in 0.02 0.1 0.2 0.3 0.4 0.5 0.7 0.9 1.2 1.5 2 3; do
	ok "QEMU killed after $s s" killed "$s"
done

# And under libvirt, which must find it shut off.
domain k "$small" >/dev/null
for s in 0 0.5 1.5 3; do
	virsh start k >/dev/null 2>&1 &
	within 60 pgrep -f 'guest=k,'
	sleep "$s"
	pkill -9 -f 'guest=k,'
	wait
	ok "killed under libvirt after $s s" within 20 sh -c "[ \"\$(virsh domstate k)\" = 'shut off' ]"
	virsh destroy k >/dev/null 2>&1
done
gone k
ok "every page is back" within 10 pool_is 256
ok "sysfs is as before" sh -c "find /sys/class/misc/hpcvm/ | sort | diff $work/tree -"
warnings >"$work/warnings.after"
is "the kernel has no new warning" "$(cat "$work/warnings.after")" "$(cat "$work/warnings")"
plan
