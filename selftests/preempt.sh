# SPDX-License-Identifier: GPL-2.0-only
# hpcvm preempt and resume: all vCPUs stop together, the cores are lent to who
# is urgent, and come back; or stay where they are (--keep). Whoever resumes the
# guest, it does not run without its cores. Its clock stands still meanwhile.

. "$(dirname "$0")/flow.sh"
node_up
share=/var/lib/hpcvm/guest/share

state() { virsh domstate "$1" | head -n 1; }
claimed() { cut -d' ' -f1 "$cores/claimed" | xargs; }
# of DOMAIN FIELD: of its vCPUs, in their order
of()
{
	hpcvm proof --json --seconds 1 "$1" | python3 -c "
import json, sys
print(*(c['$2'] for c in json.load(sys.stdin)['cores']))"
}
# json COMMAND DOMAIN EXPRESSION: of what the command says, o
json()
{
	hpcvm "$1" --json "$2" >"$work/said.json"
	cat "$work/said.json"
	python3 -c "
import json
o = json.load(open('$work/said.json'))
assert ($3)"
}
# pinned CPU: the sed for a small domain with one vCPU there
pinned() { echo "$small; s|<vcpu>1</vcpu>|&<cputune><vcpupin vcpu='0' cpuset='$1'/></cputune>|"; }
id_of() { basename "$(dirname "$(grep -lx "$1" "$vms"/*/name)")"; }
# property VALUE: p's QEMU is told to lend its cores, by nobody's advice
property()
{
	virsh qemu-monitor-command p "{\"execute\": \"qom-set\", \"arguments\":
		{\"path\": \"/machine\", \"property\": \"lend-cores\", \"value\": $1}}"
}

# What part of CPU 2 and of CPU 3 a job of the node's gets, in percent, the lesser.
share_of_cores()
{
	local cpu
	for cpu in 2 3; do
		taskset -c $cpu python3 -c "
import time
wall, cpu = time.monotonic(), time.process_time()
while time.monotonic() - wall < 3:
    pass
print(int(100 * (time.process_time() - cpu) / (time.monotonic() - wall)))" &
	done | sort -n | head -n 1
}

# A guest that is busy on both CPUs, and writes what its clocks say.
cat >"$work/clock.py" <<'END'
import os, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
with open("/share/clock", "a", buffering=1) as f:
    while True:
        f.write(f"{time.monotonic():.3f} {time.time():.3f}\n")
        time.sleep(0.2)
END
cat >"$work/job" <<'END'
for c in 0 1; do
	taskset -c $c sh -c 'while :; do :; done' &
done
exec python3 /share/clock.py
END
lines() { wc -l <"$share/clock"; }
ticks_on() { local old; old=$(lines); within 30 sh -c "[ \$(wc -l <$share/clock) -gt $((old + 2)) ]"; }
# elapsed FIELD LINE: between this line and the next of the guest's log
elapsed() { awk -v f="$1" -v n="$2" 'NR == n { a = $f } NR == n + 1 { print $f - a }' "$share/clock"; }
less() { python3 -c "import sys; sys.exit(not $1 < $2)"; }

set_pool 1300
free=$(free_pages)	# one may be broken: events.sh breaks one
scripts/node/guest-prepare /lower "$(guest_initrd)" "$work/job" "$work/clock.py"
echo 1 >"$cores/thin_ticks"
domain p "s|<vcpu>3|<vcpu>2|; /vcpu='2'/d; s|cpuset='2'|cpuset='3'|; s|cpuset='1'|cpuset='2'|" >/dev/null
ok "virsh start" virsh start p
ok "the guest is busy" within 400 test -s "$share/clock"
is "it owns two cores" "$(claimed)" "2 3"
tick=$(of p tick_mode)
echo "# ticks: $tick"
before=$(share_of_cores)
ok "a job of the node's has to share them with it" test "$before" -lt 90
fails "cores that are in use cannot be lent" "only a guest that is stopped can lend" \
	sh -c "$(declare -f property); property true | grep -v '\"return\"'; exit 1"

# Preempt.
ok "hpcvm preempt" json preempt p "o['ok'] and o['lent'] and not o['failed'] and
    [v['cpu'] for v in o['vcpus']] == [2, 3] and all(v['at_ns'] for v in o['vcpus']) and
    0 < o['skew_ns'] < 10e9"
grep skew "$work/said.json" | sed 's/^ */# stopped: /'
stopped=$(date +%s.%N)
last=$(lines)
is "  the guest is stopped" "$(state p)" paused
ok "  its cores are free" no_claims
after=$(share_of_cores)
echo "# a job on its cores gets $after percent of them, $before before"
ok "  a job of the node's has them for itself" test "$after" -gt 93
ok "  once more is the same" hpcvm preempt p
fails "  hpcvm proof says that it has no cores" "owns no core" hpcvm proof p
fails "  the module does not unload" "in use" rmmod hpcvm

# The cores are another's.
domain j "$(pinned 3)" >/dev/null
ok "another domain has a core that was lent" virsh start j
is "  it owns it" "$(claimed)" 3
why="vCPU 1 cannot have CPU 3 back: VM $(id_of j) (j) owns the core"
fails "hpcvm resume says whose" "$why" hpcvm resume p
fails "virsh resume, too" "$why" virsh resume p
fails "  in JSON" "$why" hpcvm resume --json p
is "  the guest stays stopped" "$(state p)" paused
is "  and has taken nothing" "$(claimed)" 3
gone j
ok "the other one ends" within 10 no_claims
ok "hpcvm resume" json resume p "o['ok'] and not o['failed'] and
    [v['cpu'] for v in o['vcpus']] == [2, 3] and all(v['at_ns'] for v in o['vcpus']) and
    0 < o['skew_ns'] < 10e9"
grep skew "$work/said.json" | sed 's/^ */# runs: /'
away=$(python3 -c "print($(date +%s.%N) - $stopped)")
is "  the guest runs" "$(state p)" running
ok "  it goes on where it was" ticks_on
is "  on its cores" "$(of p cpu)" "2 3"
is "  exclusively" "$(of p exclusive)" "True True"
is "  with the ticks as they were" "$(of p tick_mode)" "$tick"
ok "  every promise holds" hpcvm proof p
echo "# away for $away s; by its clocks: $(elapsed 1 "$last") s, $(elapsed 2 "$last") s"
ok "  its clock has stood still" less "$(elapsed 1 "$last")" "$away / 2"
ok "  its time of day, too: it is late" less "$(elapsed 2 "$last")" "$away / 2"
fails "  once more: it runs already" "already running" hpcvm resume p

# Claims kept.
ok "hpcvm preempt --keep" hpcvm preempt --keep p
is "  the guest is stopped" "$(state p)" paused
is "  its cores are its own" "$(claimed)" "2 3"
domain j "$(pinned 3)" >/dev/null
fails "  another domain cannot have one" "vCPU 0 cannot have CPU 3: VM $(id_of p) (p) owns the core" \
	virsh start j
gone j
hpcvm resume p >"$work/said" 2>&1
ok "hpcvm resume" grep "2 of 2, the last" "$work/said"
sed 's/^/# /' "$work/said"
ok "  the guest goes on" ticks_on

# Others' hands.
hpcvm preempt p >/dev/null
ok "virsh resume gives the cores back as well" virsh resume p
is "  all of them" "$(claimed)" "2 3"
ok "  the guest goes on" ticks_on
mkdir "$work/bin"
printf '#!/bin/sh\n/usr/bin/virsh "$@"\nkill -9 $PPID\n' >"$work/bin/virsh"
chmod +x "$work/bin/virsh"
(PATH=$work/bin:$PATH hpcvm preempt p; true) >/dev/null 2>&1
is "the command is killed half-way: the guest is stopped" "$(state p)" paused
is "  and has its cores" "$(claimed)" "2 3"
ok "  hpcvm preempt does the rest" hpcvm preempt p
ok "  so" no_claims
ok "virsh vcpupin --live while they are lent" virsh vcpupin p 1 1 --live
ok "  hpcvm resume" hpcvm resume p
is "  takes the core that was chosen" "$(of p cpu)" "2 1"
ok "  the guest goes on" ticks_on
hpcvm preempt p >/dev/null
echo 2-3 >"$cores/claimable"
fails "a core that is not listed any more" "vCPU 1 cannot have CPU 1 back" hpcvm resume p
ok "  nothing is taken" no_claims
echo 1-3 >"$cores/claimable"

kill -9 "$(cat "$vms"/*/pid)"
ok "QEMU is killed while its cores are lent: nothing is left" within 20 no_vms
ok "  no core is owned" no_claims
ok "  every page is back" within 10 pool_is "$free"
fails "  hpcvm resume: there is no such VM" "no VM in hpcvm's charge is called p" hpcvm resume p
gone p

domain p "$small
s|<domain type=.kvm.>|<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>|
s|</domain>|<qemu:commandline><qemu:arg value='-machine'/><qemu:arg value='cores=off'/></qemu:commandline></domain>|" >/dev/null
virsh start p >/dev/null
ok "a guest without cores is stopped" hpcvm preempt p
is "  so" "$(state p)" paused
ok "  and runs on" hpcvm resume p
gone p
echo 0 >"$cores/thin_ticks"
scripts/node/guest-prepare --undo
ok "the module unloads" rmmod hpcvm
plan
