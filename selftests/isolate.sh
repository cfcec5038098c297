# SPDX-License-Identifier: GPL-2.0-only
# hpcvm isolate on a real kernel: each setting is as it is said to be, and as before
# when it is undone, whatever came in between: kills, another hand, rmmod, a VM that
# owns a core. The oracle is the kernel: files, and where its threads may run. The
# slices of systemd are systemd.sh's.

. "$(dirname "$0")/flow.sh"
node_up
state=/run/hpcvm/isolate
echo >"$cores/claimable"

# snapshot FILE: a line for each thing that could change, "what: value"
cat >"$work/snapshot" <<'END'
import glob, sys
files = '''/proc/irq/default_smp_affinity /sys/devices/virtual/workqueue/cpumask
/proc/sys/kernel/watchdog_cpumask /proc/sys/vm/stat_interval /proc/sys/kernel/timer_migration
/proc/sys/kernel/numa_balancing /proc/sys/kernel/sched_rt_runtime_us /sys/kernel/mm/ksm/run
/sys/kernel/mm/transparent_hugepage/enabled /sys/class/misc/hpcvm/cores/claimable'''.split()
files += glob.glob('/sys/devices/system/machinecheck/machinecheck*/check_interval')
files += glob.glob('/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor')
for f in files:
    try:
        print(f + ':', open(f).readline().strip())
    except FileNotFoundError:
        pass
for d in glob.glob('/proc/[0-9]*'):
    try:
        stat = open(d + '/stat').read()
        flags = int(stat[stat.rindex(')'):].split()[7])
        if flags & 0x200000 and not flags & 0x4000000:
            status = open(d + '/status').read()
            may = status.split('Cpus_allowed_list:\t')[1].split('\n')[0]
            print('thread', d, stat[stat.index('('):stat.rindex(')') + 1] + ':', may)
    except (FileNotFoundError, ProcessLookupError):
        pass
END
snapshot() { python3 "$work/snapshot" | sort >"$1"; }
# Threads come and go; all else is the same.
as_before()
{
	snapshot "$work/now"
	join -t: <(grep ^thread "$work/before") <(grep ^thread "$work/now") -o 0,1.2,2.2 |
		awk -F: '$2 != $3 { print; bad = 1 } END { exit bad }' &&
		diff <(grep -v ^thread "$work/before") <(grep -v ^thread "$work/now") && [ ! -e "$state" ]
}
# on FILE VALUE
on() { same "$(head -n 1 "$1")" "$2"; }
# Threads that may still run on CPUs 2 and 3.
there() { awk -F': ' '/^thread/ && $2 != "0-1" && $2 != 0 && $2 != 1' "$work/now"; }

snapshot "$work/before"
fails "CPU 0's core" "CPU 0's core, which the node itself needs" hpcvm isolate 0-1
fails "what is no CPU" "CPU 4 is not there, or not online" hpcvm isolate 2-4
echo 0 >/sys/devices/system/cpu/cpu3/online
fails "a CPU that is offline" "CPU 3 is not there, or not online" hpcvm isolate 2-3
echo 1 >/sys/devices/system/cpu/cpu3/online
# One that comes back has its threads' affinities as the kernel makes them.
snapshot "$work/before"
fails "a user" "this is for root" runuser -u nobody -- hpcvm isolate 2-3
ok "nothing has changed" as_before

ok "hpcvm isolate 2-3" hpcvm isolate 2-3
hpcvm isolate | sed 's/^/# /'
snapshot "$work/now"
ok "new interrupts" on /proc/irq/default_smp_affinity 3
ok "workqueues" on /sys/devices/virtual/workqueue/cpumask 3
ok "watchdogs" on /proc/sys/kernel/watchdog_cpumask 0-1
ok "stat_interval" on /proc/sys/vm/stat_interval 10
ok "timer_migration" on /proc/sys/kernel/timer_migration 0
ok "numa_balancing" on /proc/sys/kernel/numa_balancing 0
ok "sched_rt_runtime_us" on /proc/sys/kernel/sched_rt_runtime_us -1
ok "transparent hugepages" on /sys/kernel/mm/transparent_hugepage/enabled "always madvise [never]"
ok "machine checks, on all CPUs" same "$(cat /sys/devices/system/machinecheck/machinecheck*/check_interval | sort -u)" 0
ok "claimable" on "$cores/claimable" 2-3
is "no kernel thread that can be moved may run there" "$(there)" ""
ok "  there were some" grep -q '^thread.*: 0-3$' "$work/before"
ok "a user may look" runuser -u nobody -- hpcvm isolate
cp "$state" "$work/state"
ok "once more" hpcvm isolate 2-3
ok "  what was is what was at first" diff <(grep -v ^kernel "$state") <(grep -v ^kernel "$work/state")
fails "others" "CPUs 2-3 are isolated; undo that first" hpcvm isolate 3
ok "hpcvm isolate --undo" hpcvm isolate --undo
ok "  all is as before" as_before
ok "  again, nothing to do" hpcvm isolate --undo

# Killed: at first nothing is done, at last all. (read waits without a process of its
# own, which takes its time.)
mkfifo "$work/never"
exec 5<>"$work/never"
begin=$(date +%s%N)
hpcvm isolate 2-3 >/dev/null
took=$((($(date +%s%N) - begin) / 1000000))
hpcvm isolate --undo >/dev/null
# killed MS ARG...: hpcvm isolate ARG, killed after so long; whether it was before its end
killed()
{
	local ms
	printf -v ms '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
	hpcvm isolate "${@:2}" >/dev/null 2>&1 &
	read -rt "$ms" -u 5 _
	kill -9 $! 2>/dev/null
	wait $! 2>/dev/null
	[ $? -eq 137 ]
}
rounds=14 bad=0 midway=0
for ((i = 1; i <= rounds; i++)); do
	if killed $((took * i / rounds)) 2-3 && [ -e "$state" ]; then midway=$((midway + 1)); fi
	[ $((i % 2)) -eq 0 ] || killed $((took * i / rounds)) --undo
	{ hpcvm isolate --undo && as_before; } >"$work/said" 2>&1 || { bad=$((bad + 1)); sed 's/^/# /' "$work/said"; }
done
echo "# isolate takes $took ms; $midway of $rounds killed on the way"
# Once at a moment that is on the way for certain: after the first it has written down.
hpcvm isolate 2-3 >/dev/null 2>&1 &
until [ -e "$state" ]; do :; done
kill -9 $!
wait $! 2>/dev/null
[ $? -ne 137 ] || midway=$((midway + 1))
{ hpcvm isolate --undo && as_before; } >"$work/said" 2>&1 || { bad=$((bad + 1)); sed 's/^/# /' "$work/said"; }
is "killed at $rounds moments, and undone: all is as before" "$bad" 0
ok "  some were on their way" [ "$midway" -gt 0 ]
killed $((took / 2)) 2-3
ok "killed, and done to its end" hpcvm isolate 2-3
ok "  all is set" hpcvm isolate
ok "  undo" hpcvm isolate --undo
ok "  all is as before" as_before

# Another hand, and no module.
hpcvm isolate 2-3 >/dev/null
echo 5 >/proc/sys/vm/stat_interval
fails "what somebody else has changed is shown" 'is "5" and no longer "10"' hpcvm isolate
ok "undo leaves it" hpcvm isolate --undo
is "  as it is" "$(cat /proc/sys/vm/stat_interval)" 5
sed -n 's/^\/proc\/sys\/vm\/stat_interval: //p' "$work/before" >/proc/sys/vm/stat_interval
ok "  all else is as before" as_before
hpcvm isolate 2-3 >/dev/null
rmmod hpcvm
ok "undo without the module" hpcvm isolate --undo
ok "isolate without it" hpcvm isolate 2-3
modprobe hpcvm && udevadm settle
is "  nothing is listed" "$(cat "$cores/claimable")" ""
ok "again, with it" hpcvm isolate 2-3
ok "  the cores are listed" on "$cores/claimable" 2-3
rmmod hpcvm
modprobe hpcvm && udevadm settle
ok "undo after it was loaded anew" hpcvm isolate --undo
ok "  all is as before" as_before

# A VM on the cores.
set_pool 600
hpcvm isolate 2-3 >/dev/null
domain i1 "$small; s|<vcpu>1</vcpu>|<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='2'/></cputune>|" >/dev/null
ok "a domain with <vcpupin> starts there" virsh start i1
ok "  hpcvm proof" hpcvm proof i1
fails "undo leaves the core listed that it owns" "a VM owns a core" hpcvm isolate --undo
ok "  it is" on "$cores/claimable" 2-3
ok "  the rest is undone" on /proc/sys/vm/stat_interval "$(sed -n 's|^/proc/sys/vm/stat_interval: ||p' "$work/before")"
gone i1
ok "then the rest of it, too" within 10 hpcvm isolate --undo
ok "  all is as before" as_before
plan
