# SPDX-License-Identifier: GPL-2.0-only
# <vcpupin> is a claim: each vCPU owns its core, moves by virsh, and is told who
# has the core that it wanted; without <vcpupin> it gets a free one. QEMU's other
# threads stay away. The oracle: the kernel's own word on where threads may run.

. "$(dirname "$0")/flow.sh"
node_up

# pinned CPUSET...: the sed that makes small's vCPU as many, pinned to these
pinned()
{
	local xml='' i=0 set
	for set in "$@"; do
		xml+="<vcpupin vcpu='$i' cpuset='$set'/>"
		i=$((i + 1))
	done
	echo "$small; s|<vcpu>1</vcpu>|<vcpu>$i</vcpu><cputune>$xml</cputune>|"
}
many() { echo "$small; s|<vcpu>1|<vcpu>$1|"; }

proof() { hpcvm proof --json --seconds 1 "$1" >"$work/proof.json"; }
# of DOMAIN FIELD: of its vCPUs, in their order
of()
{
	proof "$1"
	python3 -c "
import json
print(*(c['$2'] for c in json.load(open('$work/proof.json'))['cores']))"
}
is_on() { [ "$(of "$1" cpu)" = "$2" ]; }
claimed() { cut -d' ' -f1 "$cores/claimed" | xargs; }

# threads PID: where each thread may run, vCPUs as "CPU 0/KVM 1"
threads()
{
	local t
	for t in /proc/"$1"/task/*; do
		echo "$(cat "$t/comm") $(sed -n 's/^Cpus_allowed_list:\t//p' "$t/status")"
	done
}
vcpus() { threads "$1" | sed -n 's|^CPU [0-9]*/KVM ||p' | xargs; }
others() { threads "$1" | grep -v '^CPU [0-9]*/KVM ' | sed 's/.* //' | sort -u | xargs; }
others_are() { threads "$1" | sed 's/^/# /'; [ "$(others "$1")" = "$2" ]; }
pid_of() { cat "$(grep -lx "$1" "$vms"/*/name | sed 's/name$/pid/')"; }

# seen COMMAND... PYTHON: the JSON of hpcvm COMMAND... is j; is that true?
seen()
{
	hpcvm "${@:1:$#-1}" --json >"$work/seen.json" || return
	cat "$work/seen.json"
	python3 -c "
import json
j = json.load(open('$work/seen.json'))
def whole(v): return abs(v['guest_percent'] + v['hypervisor_percent'] + v['out_percent'] - 100) < 1
assert ${*: -1}"
}
kvm_users() { cat /sys/module/kvm/refcnt; }

set_pool 600
domain p1 "$(pinned 1 3); s|<vcpu>|<iothreads>1</iothreads>&|" >/dev/null
ok "a domain with <vcpupin> starts" virsh start p1
ok "hpcvm proof" hpcvm proof p1
hpcvm proof p1 | sed 's/^/# /'
is "  each vCPU has its core" "$(of p1 cpu)" "1 3"
is "  exclusively" "$(of p1 exclusive)" "True True"
is "  without migrations" "$(of p1 migrations)" "0 0"
is "  on its NUMA node" "$(of p1 node)" "0 1"
is "sysfs says so" "$(claimed)" "1 3"
users=$(kvm_users)
hpcvm noise --seconds 1 p1 | sed 's/^/# /'
ok "hpcvm noise" seen noise --seconds 3 p1 "[v['cpu'] for v in j['vcpus']] == [1, 3]
assert all(whole(v) and v['counted_ns'] > 25e8 and not v['since_claim'] for v in j['vcpus'])
assert all(0 < v['ticks_per_s'] <= v['all_irqs_per_s'] for v in j['vcpus'] if v['guest_percent'] > 50)"
hpcvm noise --csv --seconds 1 p1 >"$work/noise.csv"
is "  --csv: a line a class" "$(awk -F, 'NR > 1 { n[$1 "," $2]++ } END { for (v in n) print v, n[v] }' \
	"$work/noise.csv" | sort | xargs)" "0,1 40 1,3 40"
hpcvm top --seconds 1 | sed 's/^/# /'
ok "hpcvm top" seen top --seconds 2 \
	"[(v['domain']['name'], v['cpu']) for v in j['vcpus']] == [('p1', 1), ('p1', 3)]
assert all(map(whole, j['vcpus'])) and not j['hidden']"
is "  nothing of KVM is held afterwards" "$(kvm_users)" "$users"
is "hpcvm list says so" "$(hpcvm list | awk '$2 == "p1" { print $NF }')" "1,3"
qemu=$(pid_of p1)
is "the kernel says so" "$(vcpus "$qemu")" "1 3"
ok "QEMU's other threads stay off the cores" within 5 others_are "$qemu" 0

domain p2 "$(pinned 3)" >/dev/null
fails "a second domain that wants an owned core" \
	"vCPU 0 cannot have CPU 3: VM $(basename "$(dirname "$(grep -lx p1 "$vms"/*/name)")") (p1) owns the core" \
	virsh start p2
ok "  leaves nothing behind" within 10 pool_is 344
gone p2
domain p2 "$(pinned 0)" >/dev/null
fails "one that wants a core that is not listed" "those are: 1-3" virsh start p2
gone p2

domain p2 "$(many 1)" >/dev/null
ok "one without <vcpupin> starts" virsh start p2
is "  on the core that was free" "$(of p2 cpu)" 2
ok "  its other threads stay off them, too" within 5 others_are "$(pid_of p2)" 0
domain p3 "$(many 1); s|524288|65536|" >/dev/null
fails "the next one finds none" "no core is free" virsh start p3
gone p3

# A live move, to a core that is free and to two that are not to be had.
virsh vcpupin p1 1 2 --live >/dev/null
ok "virsh vcpupin --live to another one's core is put back" within 5 sh -c \
	"hpcvm proof p1 | grep 'changed where vCPU 1 may run'"
is "  the vCPU is where it was" "$(of p1 cpu)" "1 3"
gone p2
ok "virsh vcpupin --live to a free core" virsh vcpupin p1 1 2 --live
ok "  moves the claim" within 5 is_on p1 "1 2"
is "  and nothing else" "$(claimed)" "1 2"
is "  it has moved once" "$(of p1 moves)" "0 1"
ok "  every promise holds again" hpcvm proof p1
ok "  QEMU's other threads are where they were" others_are "$qemu" 0
virsh suspend p1 >/dev/null
virsh resume p1 >/dev/null
is "suspended and resumed: the same cores" "$(of p1 cpu)" "1 2"
ok "virsh destroy" virsh destroy p1
ok "  all cores are free" within 10 no_claims
gone p1

# What else <vcpupin> and <numatune> can say.
domain p1 "$(pinned 0,2-3 2)" >/dev/null
ok "pinned to several CPUs" virsh start p1
is "  the first that can be had, behind those that have no choice" "$(of p1 cpu)" "3 2"
kill -9 "$(pid_of p1)"
ok "QEMU killed: all cores are free" within 10 no_claims
gone p1
domain p1 "$(many 2); s|<vcpu>|<numatune><memory mode='strict' nodeset='1'/></numatune>&|" >/dev/null
ok "memory bound to node 1, without <vcpupin>" virsh start p1
is "  its cores are there" "$(of p1 cpu)" "2 3"
is "  which is local" "$(of p1 local)" "True True"
gone p1
domain p1 "$(many 2); s|<vcpu>|<numatune><memory mode='strict' nodeset='0'/></numatune>&|" >/dev/null
fails "memory bound to node 0, which lists one core" \
	"vCPU 1 cannot have a core: no core is free on NUMA node 0" virsh start p1
gone p1
domain p1 "$small; s|<vcpu>1|<vcpu current='1'>2|" >/dev/null
fails "CPUs to be added later" "remove current= from <vcpu>" virsh start p1
gone p1

# Nothing is listed: nothing starts, unless it says that it wants no core.
ok "all cores are free" within 10 no_claims
echo >"$cores/claimable"
domain p1 "$small" >/dev/null
fails "no core is listed" "no core can be claimed; list those that are for guests with: echo" virsh start p1
gone p1
domain p1 "$(pinned 1)" >/dev/null
fails "no core is listed, and one is wanted" "CPU 1 is of no core that can be claimed" virsh start p1
gone p1
domain p1 "$small
s|<domain type=.kvm.>|<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>|
s|</domain>|<qemu:commandline><qemu:arg value='-machine'/><qemu:arg value='cores=off'/></qemu:commandline></domain>|" >/dev/null
ok "cores=off starts" virsh start p1
is "  and owns none" "$(of p1 cpu)" ""
ok "  hpcvm proof" hpcvm proof p1
gone p1
ok "every page is back" within 10 pool_is 600
plan
