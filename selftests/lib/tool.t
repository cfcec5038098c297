#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The hpcvm command on a fake node: exit statuses, text, JSON.
# HPCVM: the command; FAKE_SO: fake.c as a library to preload.
# shellcheck disable=SC2016 # the perl in single quotes is meant so

set -u

export FAKE
FAKE=$(mktemp -d) || exit
trap 'rm -rf "$FAKE"' EXIT
vms=$FAKE/sys/class/misc/hpcvm/vms
n=0

# hpcvm ARG...: run it on the fake node; $out, $err, $status
hpcvm()
{
	status=0
	out=$(LC_ALL=C LD_PRELOAD=$FAKE_SO "$HPCVM" "$@" 2>"$FAKE/err") || status=$?
	err=$(<"$FAKE/err")
}

# ok WHAT TEST...: one line of TAP
ok()
{
	local what=$1
	shift
	n=$((n + 1))
	if "$@"; then
		echo "ok $n - $what"
	else
		echo "not ok $n - $what"
		printf '# status %s\n' "$status"
		printf '%s\n%s\n' "$out" "$err" | sed 's/^/# /'
	fi
}

exits() { [ "$status" -eq "$1" ]; }
says() { [[ $out == *"$1"* ]]; }
complains() { [[ $err == *"$1"* ]]; }
quiet() { [ -z "$err" ]; }
# json EXPRESSION: perl over the object in $j; the output must be JSON.
json() { perl -MJSON::PP -e 'my $j = decode_json($ARGV[0]); exit !eval($ARGV[1]); ' "$out" "$1"; }

# vm ID UUID NAME: an entry in sysfs, 3 GiB around the hole below 4 GiB
vm()
{
	local d=$vms/$1 f
	mkdir -p "$d/slots/0x0" "$d/slots/0x100000000"
	echo "$2" >"$d/uuid"
	printf '%s\n' "$3" >"$d/name"
	echo 4242 >"$d/pid"
	echo 107 >"$d/uid"
	echo 37 >"$d/kvm_pages_4k"
	echo 1000 >"$d/kvm_pages_2m"
	echo 1 >"$d/kvm_pages_1g"
	for f in "0 2147483648 0" "100000000 1073741824 2147483648"; do
		# shellcheck disable=SC2086
		set -- $f
		echo "0x$1" >"$d/slots/0x$1/gpa"
		echo "$2" >"$d/slots/0x$1/length"
		echo "$3" >"$d/slots/0x$1/offset"
		echo 2097152 >"$d/slots/0x$1/page_size"
		echo -1 >"$d/slots/0x$1/node"
	done
}

# answers [LINE...]: a node on which all is well, and what differs from it
answers()
{
	{
		cat <<-'EOF'
			query.api_version 1
			query.nodes 2
			query.features 1
			query.node 0xe7
			query.free_2m 10
			query.free_1g 2
			verify.ram_bytes 3221225472
			verify.nodes 3
			verify.kvm_pages_4k 37
			verify.kvm_pages_4k_legacy 37
			verify.kvm_legacy_frames 1200
			verify.kvm_pages_2m 1000
			verify.kvm_pages_1g 1
			slot.gpa 0
			slot.length 2147483648
			slot.page_size 2097152
			slot.node 0
			slot.nodes 1
			slot.pages_present 1024
			slot.mapped_2m 1024
			slot.kvm_bytes 2147483648
			slot.gpa 0x100000000
			slot.length 1073741824
			slot.offset 2147483648
			slot.page_size 1073741824
			slot.node -1
			slot.nodes 2
			slot.pages_present 1
			slot.mapped_1g 1
			slot.kvm_bytes 1073741824
		EOF
		[ "$#" -eq 0 ] || printf '%s\n' "$@"
	} >"$FAKE/answers"
}

# --- usage
hpcvm
ok "no command: usage on stderr, status 2" exits 2
ok "names the commands" complains proof
hpcvm --help
ok "--help: status 0" exits 0
for c in info isolate list noise preempt proof reserve resume top; do
	ok "--help names $c" says "  $c "
done
hpcvm --version
ok "--version" says "hpcvm "
hpcvm frob
ok "unknown command: status 2" exits 2
hpcvm help frob
ok "help for an unknown command: status 2" exits 2
for c in info isolate list noise preempt proof reserve resume top; do
	hpcvm help $c
	ok "help $c: status 0" exits 0
	ok "help $c: usage" says "Usage: hpcvm $c"
	hpcvm $c --help
	ok "$c --help" says "Usage: hpcvm $c"
	hpcvm $c --frob
	ok "$c --frob: status 2" exits 2
	ok "$c --frob is named" complains "--frob"
	hpcvm $c a b
	ok "$c with too much: status 2" exits 2
	ok "$c has a man page" [ -e "${MAN:-$(dirname "$0")/../../Documentation/man}/hpcvm-$c.1" ]
done
for c in noise preempt proof resume; do
	hpcvm $c
	ok "$c of nothing: status 2" exits 2
done
hpcvm info -x
ok "unknown short option: status 2" exits 2

# --- no module
for c in info list; do
	hpcvm $c
	ok "$c without the module: status 1" exits 1
	ok "$c without the module: a sentence" complains "the hpcvm module is not loaded: modprobe hpcvm"
	hpcvm $c --json
	ok "$c --json without the module: status 1" exits 1
	ok "$c --json without the module: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /not loaded/'
	ok "$c --json: nothing on stderr" quiet
done
for o in --list "--drop 1" "--drop all" "--size 2M --count 1"; do
	# shellcheck disable=SC2086 # words
	hpcvm reserve $o --json
	ok "reserve $o without the module: status 1" exits 1
	ok "reserve $o without the module: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /not loaded/'
done
hpcvm noise demo --json
ok "noise --json without the module: status 2" exits 2
ok "noise --json without the module: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /not loaded/ && exists $j->{vcpus} && exists $j->{domain}'
for c in preempt resume; do
	hpcvm $c demo --json
	ok "$c --json without the module: status 2" exits 2
	ok "$c --json without the module: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /not loaded/ && exists $j->{vcpus} && exists $j->{domain} && exists $j->{skew_ns}'
done
hpcvm top --json
ok "top --json without the module: status 2" exits 2
ok "top --json without the module: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /not loaded/ && exists $j->{vcpus}'
hpcvm proof demo --json
ok "proof --json without the module: status 2" exits 2
ok "proof --json without the module: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /not loaded/ && exists $j->{memory} && exists $j->{domain}'

# --- info
mkdir -p "$vms" "$FAKE/dev" "$FAKE/sys/kernel/mm/hugepages/hugepages-2048kB"
touch "$FAKE/dev/hpcvm"
echo 1000 >"$FAKE/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
answers
hpcvm info
ok "info: status 0" exits 0
ok "info: pool" says "10 of 1000 are free"
hpcvm info --json
ok "info --json" json '$j->{ok} && $j->{version} == 1 && $j->{node}{kvm} && !$j->{node}{nx_huge_pages} && $j->{node}{numa_nodes} == 2 && $j->{free_2m} == 10 && !@{$j->{failed}} && !@{$j->{notes}}'
answers "query.node 0xef"
hpcvm info
ok "nx_huge_pages active: status 1" exits 1
ok "nx_huge_pages active: what to do" says "echo off > /sys/module/kvm/parameters/nx_huge_pages"
answers "query.node 0x13" "query.free_2m 0" "query.free_1g 0"
echo 0 >"$FAKE/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
hpcvm info --json
ok "a poor node: status 1" exits 1
ok "a poor node: sentences" json '!$j->{ok} && (grep /AMD-V or VT-x/, @{$j->{failed}}) && (grep /modprobe kvm_/, @{$j->{failed}}) && (grep /echo 1024/, @{$j->{failed}}) && (grep /IOMMU/, @{$j->{notes}}) && !defined $j->{node}{nx_huge_pages}'
mkdir -p "$FAKE/sys/module/kvm/parameters"
for p in "Y 1" "N 0" "never 0"; do
	echo "${p% *}" >"$FAKE/sys/module/kvm/parameters/nx_huge_pages"
	hpcvm info --json
	ok "nx_huge_pages from sysfs: $p" json "\$j->{node}{nx_huge_pages} == ${p#* }"
done
answers "query.features 3"
hpcvm info --json
ok "no core is listed: status 1" exits 1
ok "no core is listed: a sentence" json '@{$j->{failed}} == 1 && $j->{failed}[0] =~ /echo CPUS >/ && $j->{node}{claimable} eq ""'
mkdir -p "$vms/../cores"
echo 2-3 >"$vms/../cores/claimable"
hpcvm info --json
ok "cores are listed: status 0" exits 0
ok "cores are listed: JSON" json '$j->{ok} && $j->{node}{claimable} eq "2-3" && join(",", @{$j->{features}}) eq "memory,cores"'
answers "query.features 7"
mkdir -p "$vms/../monitors"
echo 1100 >"$vms/../monitors/slots"
echo 4000 >"$vms/../monitors/user_limit"
hpcvm info
ok "monitors" says "watch with 1100 slots; a user can have 4000"
hpcvm info --json
ok "monitors: JSON" json '$j->{ok} && $j->{node}{monitor_slots} == 1100 && $j->{features}[2] eq "monitor"'
answers "query.err 25"
hpcvm info
ok "query fails: status 1" exits 1
ok "query fails: a sentence" complains HPCVM_QUERY
rm -r "$FAKE/sys/module"

# --- list
answers
hpcvm list
ok "no VM: status 0" exits 0
hpcvm list --json
ok "no VM: JSON" json '$j->{ok} && !@{$j->{vms}}'
a=11111111-2222-3333-4444-55555555aaaa
vm 3 $a demo
vm 10 00000000-0000-0000-0000-000000000000 ""
vm 9 11111111-2222-3333-4444-55555555bbbb 3
hpcvm list
ok "list: status 0" exits 0
ok "list: a VM" says "demo $a"
ok "list: its RAM" says "3 GiB"
hpcvm list --json
ok "list --json: ids in order" json 'join(",", map { $_->{id} } @{$j->{vms}}) eq "3,9,10"'
ok "list --json: fields" json 'my $v = $j->{vms}[0]; $v->{uuid} eq "'$a'" && $v->{name} eq "demo" && $v->{pid} == 4242 && $v->{uid} == 107 && $v->{ram_bytes} == 3 << 30 && $v->{kvm_pages_4k} == 37 && $v->{slots}[1]{gpa} == 1 << 32 && $v->{slots}[1]{length} == 1 << 30 && !defined $v->{slots}[0]{node}'
ok "list --json: no name, no UUID" json '!defined $j->{vms}[2]{name} && !defined $j->{vms}[2]{uuid}'
mkdir "$vms/11"
hpcvm list --json
ok "a VM that ends meanwhile is left out" json '@{$j->{vms}} == 3'
rmdir "$vms/11"
vm 12 11111111-2222-3333-4444-55555555cccc $'"a\\\xff\xc3(\x1b[\xe2\x82\xac'
hpcvm list --json
ok "a strange name is still JSON" json '$j->{vms}[3]{name} eq "\"a\\??(?[\x{20ac}"'
rm -r "$vms/12"

# --- finding a VM
for who in demo 3 $a ${a^^} ${a//-/}; do
	hpcvm proof "$who" --json
	ok "proof $who: status 0" exits 0
	ok "proof $who: VM 3" json '$j->{domain}{id} == 3'
done
hpcvm proof 9 --json
ok "an id comes before a name" json '$j->{domain}{id} == 9'
for who in nobody "" 4 00000000-0000-0000-0000-000000000000; do
	hpcvm proof --json -- "$who"
	ok "proof '$who': status 2" exits 2
	ok "proof '$who': JSON" json '!$j->{ok} && @{$j->{failed}} == 1 && $j->{failed}[0] =~ /hpcvm list/'
done
hpcvm proof nobody
ok "text: on stderr" complains "no VM in hpcvm's charge is called nobody"
vm 20 11111111-2222-3333-4444-55555555dddd demo
hpcvm proof demo
ok "ambiguous name: status 2" exits 2
ok "ambiguous name: the ids" complains "3, 20"
hpcvm proof demo --json
ok "ambiguous name: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /2 VMs are called demo/ && !defined $j->{domain}'
rm -r "$vms/20"
answers "vm_open.err 1" "vm_open.reason 11" "vm_open.detail 107"
hpcvm proof demo
ok "somebody else's: status 2" exits 2
ok "somebody else's: whose" complains "uid 107"
answers "vm_open.err 2" "vm_open.reason 9" "vm_open.detail 3"
hpcvm proof demo --json
ok "ended before open" json '!$j->{ok} && $j->{failed}[0] =~ /there is no VM 3/ && $j->{domain}{id} == 3'
answers "verify.err 19" "verify.reason 10" "verify.detail 3"
hpcvm proof demo --json
ok "ended before verify: status 2" exits 2
ok "ended before verify: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /VM 3 has ended/ && !defined $j->{memory}'

# --- proof of memory
answers
hpcvm proof demo
ok "all is well: status 0" exits 0
ok "all is well: said so" says "Every promise holds."
ok "all is well: a table" says "0x100000000"
ok "all is well: no cross" eval '! says "  NO "'
hpcvm proof demo --json
ok "all is well: JSON" json '$j->{ok} && $j->{version} == 1 && !@{$j->{failed}}'
ok "the keys" json 'my $m = $j->{memory}; $m->{ram_bytes} == 3 << 30 && $m->{page_size} == 2 << 20 && $m->{kvm_pages_4k_ram} == 0 && $m->{kvm_pages_4k_legacy} == 37 && $m->{kvm_pages_2m} == 1000 && $m->{kvm_pages_1g} == 1 && join(",", @{$m->{numa_nodes}}) eq "0,1" && @{$m->{slots}} == 2 && $m->{slots}[0]{node} == 0 && !defined $m->{slots}[1]{node}'
ok "the domain" json '$j->{domain}{id} == 3 && $j->{domain}{name} eq "demo" && $j->{domain}{uuid} eq "'$a'"'
for ((bit = 1; bit <= 0x400; bit <<= 1)); do
	answers "verify.broken $bit"
	hpcvm proof demo --json
	ok "broken $bit: status 1" exits 1
	ok "broken $bit: one sentence" json '!$j->{ok} && @{$j->{failed}} == 1 && length $j->{failed}[0] > 10'
	hpcvm proof demo
	ok "broken $bit: a cross" says "  NO "
	ok "broken $bit: a list" says "Broken:"
done
answers "verify.broken 0x22" "slot.broken 0x20" "slot.broken_gpa 0x100200000"
hpcvm proof demo --json
ok "a broken promise says where" json '@{$j->{failed}} == 2 && $j->{failed}[0] =~ /slot at guest address 0x100000000, first seen at 0x100200000/ && !$j->{memory}{slots}[1]{ok}'
answers "slot.kind 1"
hpcvm proof demo --json
ok "an adopted slot: status 0" exits 0
ok "an adopted slot: JSON" json '$j->{ok} && !$j->{memory}{slots}[0]{adopted} && $j->{memory}{slots}[1]{adopted}'
hpcvm proof demo
ok "an adopted slot: in the table" says "adopted"
ok "an adopted slot: how much" says "1 GiB of it adopted"
answers "verify.kvm_pages_4k_ram 1"
hpcvm proof demo
ok "one 4K page of RAM: status 1" exits 1
answers "query.node 0xef"
hpcvm proof demo --json
ok "nx_huge_pages active: status 1" exits 1
ok "nx_huge_pages active: what to do" json '$j->{failed}[0] =~ /echo off >/ && $j->{memory}{nx_huge_pages}'
answers "query.node 0xf7"
hpcvm proof demo --json
ok "nx_huge_pages unknown: status 1" exits 1
mkdir -p "$FAKE/sys/module/kvm/parameters"
echo N >"$FAKE/sys/module/kvm/parameters/nx_huge_pages"
hpcvm proof demo
ok "nx_huge_pages off by sysfs: status 0" exits 0
answers
for ((i = 0; i < 150; i++)); do
	printf 'slot.gpa %s\nslot.page_size 1073741824\n' "$i"
done >>"$FAKE/answers"
hpcvm proof demo --json
ok "more slots than there was room for" json '@{$j->{memory}{slots}} == 152'
answers
out=$(LC_ALL=C.UTF-8 LD_PRELOAD=$FAKE_SO "$HPCVM" proof demo)
ok "ticks where the locale has them" says "✓"
status=0
LD_PRELOAD=$FAKE_SO "$HPCVM" proof demo >/dev/full 2>/dev/null || status=$?
ok "a full disk is no proof" exits 2

# --- proof of cores
# vcpu VM N CPU: an entry in sysfs
vcpu()
{
	mkdir -p "$vms/$1/vcpus/$2"
	echo "$3" >"$vms/$1/vcpus/$2/cpu"
}
# claimed [LINE...]: VM 3 has two vCPUs on cores of their own, and what differs
claimed()
{
	answers "query.features 3"
	cat >>"$FAKE/answers" <<-'EOF'
		vcpu.vcpu 0
		vcpu.cpu 2
		vcpu.node 1
		vcpu.tick 1
		vcpu.tick_why 2
		vcpu.owned_ns 1000000000
		vcpu.timer_irqs 250
		vcpu.all_irqs 300
		vcpu.vcpu 1
		vcpu.cpu 3
		vcpu.node 1
		vcpu.tick 2
		vcpu.owned_ns 2000000000
		vcpu.timer_irqs 2
		vcpu.all_irqs 5
	EOF
	[ "$#" -eq 0 ] || printf '%s\n' "$@" >>"$FAKE/answers"
}
answers
hpcvm proof demo --json
ok "no vCPU: status 0" exits 0
ok "no vCPU: an empty list" json '$j->{ok} && ref $j->{cores} eq "ARRAY" && !@{$j->{cores}}'
hpcvm proof demo
ok "no vCPU: a note" says "none promised"
vcpu 3 0 2
vcpu 3 1 3
claimed
hpcvm list
ok "list: the CPUs" says " 2,3"
hpcvm list --json
ok "list --json: the CPUs" json '$j->{vms}[0]{vcpus}[1]{vcpu} == 1 && $j->{vms}[0]{vcpus}[1]{cpu} == 3 && !@{$j->{vms}[1]{vcpus}}'
hpcvm proof demo --json
ok "cores: status 0" exits 0
ok "cores: the keys" json 'my $c = $j->{cores}; $j->{ok} && @$c == 2 && $c->[0]{vcpu} == 0 && $c->[0]{cpu} == 2 && $c->[0]{node} == 1 && $c->[0]{exclusive} && $c->[0]{local} && $c->[0]{tick_mode} eq "kept" && $c->[0]{tick_why} =~ /nohz_full/ && $c->[0]{migrations} == 0 && $c->[1]{tick_mode} eq "nohz_full" && !defined $c->[1]{tick_why}'
ok "cores: rates" json 'my $c = $j->{cores}; $c->[0]{ticks_per_s} == 250 && $c->[0]{all_irqs_per_s} == 300 && $c->[1]{ticks_per_s} == 1 && $c->[1]{all_irqs_per_s} == 2.5'
hpcvm proof --seconds 0 demo
ok "--seconds 0: status 0" exits 0
ok "  each vCPU owns a core" says "2 of 2, 2 of them exclusively"
ok "  the tick is no promise" says "1 of 2"
ok "  a table" says "nohz_full  1.0        2.5"
claimed "stats.calls 2"
hpcvm proof --seconds 0 demo --json
ok "--seconds 0: one look, the rates since the claim" json '$j->{cores}[1]{ticks_per_s} == 1 && $j->{cores}[1]{all_irqs_per_s} == 2.5'
for o in "" -1 x 86401; do
	hpcvm proof --seconds "$o" demo
	ok "--seconds '$o': status 2" exits 2
done
hpcvm proof demo --seconds
ok "--seconds without a number: status 2" exits 2
claimed "vcpu.cpu -1" "vcpu.node -1"
hpcvm proof demo --json --seconds 0
ok "a vCPU without a core: status 1" exits 1
ok "a vCPU without a core: JSON" json '@{$j->{failed}} == 1 && $j->{failed}[0] =~ /vCPU 1 owns no core/ && !$j->{cores}[1]{exclusive} && !defined $j->{cores}[1]{cpu} && !defined $j->{cores}[1]{tick_mode}'
hpcvm proof demo --seconds 0
ok "a vCPU without a core: a cross" says "  NO "
claimed "vcpu.tid 0" "vcpu.cpu -1"
hpcvm proof demo --json --seconds 0
ok "a thread that has ended" json '@{$j->{failed}} == 1 && $j->{failed}[0] =~ /thread of vCPU 1 has ended/'
claimed "vcpu.drifts 4"
hpcvm proof demo --json --seconds 0
ok "drift: status 1" exits 1
ok "drift: JSON" json '@{$j->{failed}} == 1 && $j->{failed}[0] =~ /vCPU 1 may run, 4 times/ && $j->{cores}[1]{drifts} == 4'
claimed "vcpu.migrations 2"
hpcvm proof demo --json --seconds 0
ok "migrations: JSON" json '@{$j->{failed}} == 1 && $j->{failed}[0] =~ /taken from its core, CPU 3, 2 times/'
claimed "vcpu.claim 1"
hpcvm proof demo --json --seconds 0
ok "a core that siblings share" json '$j->{ok} && $j->{cores}[0]{exclusive} && !$j->{cores}[1]{exclusive}'
claimed "verify.nodes 1"
hpcvm proof demo --json --seconds 0
ok "cores that are far: told, not broken" json '$j->{ok} && !$j->{cores}[0]{local}'
vcpu 3 7 1
hpcvm proof demo --json --seconds 0
ok "a vCPU that goes meanwhile: status 2" exits 2
ok "a vCPU that goes meanwhile: JSON" json '!$j->{ok} && @{$j->{failed}} == 1 && !defined $j->{cores}'
rm -r "$vms/3/vcpus/7"

# --- noise
# noisy [LINE...]: the same VM, for some time on its cores, and what differs of vCPU 1
noisy()
{
	claimed
	sed -i '/^vcpu.vcpu 0$/,$d' "$FAKE/answers"
	cat >>"$FAKE/answers" <<-'EOF'
		vcpu.vcpu 0
		vcpu.cpu 2
		vcpu.tick 1
		vcpu.owned_ns 50000000000
		vcpu.timer_irqs 12500
		vcpu.all_irqs 15000
		vcpu.preempted 41
		vcpu.preempted_ns 400000
		vcpu.preempted_longest_ns 33500000
		vcpu.gaps[0] 1
		vcpu.gaps[13] 40
		vcpu.guest_ns 37000000000
		vcpu.hypervisor_ns 12000000000
		vcpu.out_ns 1000000000
		vcpu.exits 7000
		vcpu.exits_irq 6000
		vcpu.exits_halt 100
		vcpu.exits_io 200
		vcpu.exits_mmio 300
		vcpu.exits_irq_window 400
		vcpu.exits_signal 500
		vcpu.exits_request 600
		vcpu.vcpu 1
		vcpu.cpu 3
		vcpu.tick 2
		vcpu.owned_ns 50000000000
		vcpu.timer_irqs 50
		vcpu.all_irqs 100
		vcpu.preempted 30
		vcpu.gaps[10] 10
		vcpu.gaps[39] 20
	EOF
	[ "$#" -eq 0 ] || printf '%s\n' "$@" >>"$FAKE/answers"
}
# lines N REGEX: so many lines of the output match
lines() { [ "$(grep -cE -- "$2" <<<"$out")" -eq "$1" ]; }
noisy
hpcvm noise demo --seconds 1
ok "noise: status 0" exits 0
ok "  whose" says "VM 3, demo, $a"
ok "  interrupts, preemptions, the longest" lines 1 '^  0     2     250\.0      300\.0      41         400 us     33\.5 ms$'
ok "  where the time went" lines 1 '^  0     74\.0      24\.0         2\.0$'
ok "  nobody counted: nothing" lines 1 '^  1     -         -            -$'
ok "  exits by kind" lines 1 '^  0     (6|7)[0-9]+\.[0-9]  *(5|6)[0-9]+\.[0-9] '
ok "  a histogram for each" says "vCPU 0 was preempted 41 times in 50.0 s"
ok "  a class that occurred, with the longest bar" lines 1 '^    8\.19 us - 16\.4 us           40 #{44}$'
ok "  half as many: a bar of half the length" lines 1 '^      550 s -                   20 #{22}$'
ok "  one alone: a bar, too" lines 1 '^       1 ns - 2 ns               1 ##?$'
ok "  neighbours, without a bar" lines 1 '^       2 ns - 4 ns               0$'
ok "  on both sides" lines 1 '^      275 s - 550 s              0$'
ok "  no other class" lines 10 '^ +[0-9.]+ [num]?s - '
ok "  nothing to remark" eval '! says "since then"'
hpcvm noise demo --seconds 1 --json
ok "noise --json: status 0" exits 0
ok "  the domain" json '$j->{ok} && $j->{domain}{id} == 3 && !@{$j->{notes}}'
ok "  two looks" json 'my $v = $j->{vcpus}[0]; @{$j->{vcpus}} == 2 && $v->{vcpu} == 0 && $v->{cpu} == 2 && $v->{counted_ns} == 50e9 && !$v->{since_claim} && $v->{ticks_per_s} == 250 && $v->{all_irqs_per_s} == 300 && $v->{preempted} == 41 && $v->{preempted_ns} == 400000 && $v->{preempted_longest_ns} == 33500000'
ok "  where the time went" json 'my ($v, $w) = @{$j->{vcpus}}; $v->{guest_percent} == 74 && $v->{hypervisor_percent} == 24 && $v->{out_percent} == 2 && exists $w->{guest_percent} && !defined $w->{guest_percent}'
ok "  exits a second of the clock" json 'my $e = $j->{vcpus}[0]{exits_per_s}; my $f = $e->{all} / 7000; $f > 0.1 && $f <= 1 && !grep { abs($_ - $f) > 0.001 } $e->{irq} / 6000, $e->{halt} / 100, $e->{io} / 200, $e->{mmio} / 300, $e->{irq_window} / 400, $e->{signal} / 500, $e->{request} / 600'
ok "  classes" json 'my ($g, $h) = map { $_->{gaps} } @{$j->{vcpus}}; @$g == 2 && $g->[0]{from_ns} == 1 && $g->[0]{to_ns} == 2 && $g->[0]{count} == 1 && $g->[1]{from_ns} == 8192 && $g->[1]{to_ns} == 16384 && $g->[1]{count} == 40 && $h->[1]{from_ns} == 1 << 39 && !defined $h->[1]{to_ns} && $h->[1]{count} == 20'
hpcvm noise demo --seconds 1 --csv
ok "noise --csv: status 0" exits 0
ok "  a header" [ "${out%%$'\n'*}" = vcpu,cpu,from_ns,to_ns,count ]
ok "  a line a class and vCPU" lines 80 '^[01],[23],[0-9]+,([0-9]+|inf),[0-9]+$'
ok "  nothing else" lines 81 ''
ok "  a class" lines 1 '^0,2,8192,16384,40$'
ok "  the last one" lines 1 '^1,3,549755813888,inf,20$'
ok "  nothing on stderr" quiet
noisy "vcpu.moves 1" "vcpu.cpu 5" "then.cpu 3" "then.moves 0" "vcpu.owned_ns 250000000" "then.owned_ns 50000000000"
hpcvm noise demo --seconds 1
ok "a vCPU that moves: status 0" exits 0
ok "  said so" says "vCPU 1 has moved from CPU 3 to CPU 5: its core is counted since then, 500 ms"
hpcvm noise demo --seconds 1 --json
ok "  counted since then" json 'my $v = $j->{vcpus}[1]; $j->{ok} && @{$j->{notes}} == 1 && $v->{cpu} == 5 && $v->{since_claim} && $v->{counted_ns} == 5e8 && $v->{ticks_per_s} == 200 && $v->{preempted} == 60 && $v->{gaps}[0]{count} == 20 && !$j->{vcpus}[0]{since_claim}'
hpcvm noise demo --seconds 1 --csv
ok "  the CSV is not disturbed" lines 81 '^[01v]'
ok "  it is said on stderr" complains "has moved from CPU 3 to CPU 5"
noisy "vcpu.owned_ns 300000000" "then.owned_ns 100000000"
hpcvm noise demo --seconds 1 --json
ok "the same core, claimed anew" json '$j->{vcpus}[1]{since_claim} && $j->{vcpus}[1]{counted_ns} == 6e8 && $j->{notes}[0] =~ /vCPU 1 has come to CPU 3 meanwhile/'
noisy "vcpu.cpu -1"
hpcvm noise demo --seconds 1
ok "a vCPU without a core: status 0" exits 0
ok "  said so" says "vCPU 1 owns no core"
ok "  in the table" lines 1 '^  1     none  -          -          -          -          -$'
ok "  no histogram" eval '! says "vCPU 1 was preempted"'
hpcvm noise demo --seconds 1 --csv
ok "  no line in the CSV" lines 41 ''
ok "  but on stderr" complains "vCPU 1 owns no core"
hpcvm noise demo --seconds 1 --json
ok "  null in the JSON" json '$j->{ok} && !defined $j->{vcpus}[1]{cpu} && !defined $j->{vcpus}[1]{ticks_per_s} && defined $j->{vcpus}[1]{exits_per_s}{all}'
noisy "vcpu.tid 0" "vcpu.cpu -1"
hpcvm noise demo --seconds 1
ok "a thread that has ended" says "the thread of vCPU 1 has ended"
noisy "stats.calls 2" "stats.err 19" "stats.reason 10" "stats.detail 3"
hpcvm noise demo --seconds 1
ok "the VM ends meanwhile: status 2" exits 2
ok "  a sentence" complains "VM 3 has ended"
ok "  no numbers" [ -z "$out" ]
hpcvm noise demo --seconds 1 --csv
ok "  no CSV" [ "$status$out" = 2 ]
hpcvm noise demo --seconds 1 --json
ok "  JSON" json '!$j->{ok} && $j->{failed}[0] =~ /VM 3 has ended/ && !defined $j->{vcpus} && $j->{domain}{id} == 3'
hpcvm noise demo --seconds 0 --json
ok "--seconds 0: one look, since the claim" json '$j->{ok} && $j->{vcpus}[0]{counted_ns} == 50e9 && $j->{vcpus}[0]{since_claim} && !defined $j->{vcpus}[0]{exits_per_s}{all} && !defined $j->{vcpus}[0]{guest_percent} && !@{$j->{notes}}'
hpcvm noise nobody --csv
ok "noise of nobody: status 2" exits 2
ok "noise of nobody: a sentence" complains "no VM in hpcvm's charge is called nobody"
hpcvm noise demo --csv --json
ok "--csv and --json: status 2" exits 2
hpcvm noise 9 --seconds 1 --csv
ok "no vCPU: a header alone" [ "$status$out" = 0vcpu,cpu,from_ns,to_ns,count ]
ok "no vCPU: said so" complains "the guest has not run yet"
for o in "" -1 x 86401; do
	hpcvm noise --seconds "$o" demo
	ok "noise --seconds '$o': status 2" exits 2
done

# --- preempt and resume
# virsh is one that notes what it was asked, and says what is in $FAKE/virsh.WHAT.
mkdir "$FAKE/bin"
cat >"$FAKE/bin/virsh" <<'EOF'
#!/bin/sh
echo "$*" >>"$FAKE/asked"
cat "$FAKE/virsh.$2" 2>/dev/null
! grep -q '^error: ' "$FAKE/virsh.$2" 2>/dev/null
EOF
chmod +x "$FAKE/bin/virsh"
path=$PATH
PATH=$FAKE/bin:$PATH
# stopped [LINE...]: vCPUs that stop and run far in the future, and what differs of vCPU 1
stopped()
{
	rm -f "$FAKE/asked"
	answers "query.features 3" "vcpu.vcpu 0" "vcpu.cpu 2" "vcpu.run_ended_ns 9000000000000000000" \
		"vcpu.run_began_ns 9100000000000000000" "vcpu.vcpu 1" "vcpu.cpu 3" \
		"vcpu.run_ended_ns 9000000000000417999" "vcpu.run_began_ns 9100000000000512000" "$@"
}
asked() { [ "$(cat "$FAKE/asked" 2>/dev/null)" = "$1" ]; }
lend="-q qemu-monitor-command $a"
lend+=' {"execute": "qom-set", "arguments": {"path": "/machine", "property": "lend-cores", "value": true}}'
echo '{"return":{},"id":"libvirt-17"}' >"$FAKE/virsh.qemu-monitor-command"
stopped
hpcvm preempt demo
ok "preempt: status 0" exits 0
ok "  virsh stops it, QEMU lends" asked "-q suspend $a
$lend"
ok "  the skew" says "2 of 2, the last 417 us after the first"
ok "  the cores" says "its cores are lent     2, 3"
stopped
hpcvm preempt demo --json
ok "preempt --json" json '$j->{ok} && $j->{lent} && $j->{skew_ns} == 417999 && @{$j->{vcpus}} == 2 && $j->{vcpus}[1]{cpu} == 3 && $j->{vcpus}[1]{at_ns} == 9000000000000417999 && $j->{domain}{id} == 3'
stopped
hpcvm preempt --keep demo
ok "preempt --keep: status 0" exits 0
ok "  QEMU is told nothing" asked "-q suspend $a"
ok "  the cores" says "its cores are kept     2, 3"
stopped "vcpu.run_ended_ns 5"
hpcvm preempt --keep demo --json
ok "a vCPU that had stopped before: no skew" json '$j->{ok} && !defined $j->{skew_ns} && !defined $j->{vcpus}[1]{at_ns} && defined $j->{vcpus}[0]{at_ns} && !exists $j->{lent}'
echo '{"id":"libvirt-17","error":{"class":"GenericError","desc":"only a guest that is stopped can lend its cores"}}' \
	>"$FAKE/virsh.qemu-monitor-command"
stopped
hpcvm preempt demo
ok "QEMU refuses to lend: status 1" exits 1
ok "  in its words" complains "hpcvm: only a guest that is stopped can lend its cores"
ok "  said so" says "  NO "
hpcvm preempt demo --json
ok "  in JSON" json '!$j->{ok} && !$j->{lent} && $j->{failed}[0] eq "only a guest that is stopped can lend its cores"'
echo "no JSON" >"$FAKE/virsh.qemu-monitor-command"
hpcvm preempt demo
ok "QEMU says what nobody understands: status 1" exits 1
stopped
hpcvm resume demo
ok "resume: status 0" exits 0
ok "  virsh does it" asked "-q resume $a"
ok "  the skew" says "2 of 2, the last 512 us after the first"
ok "  the cores" says "its cores are its own  2, 3"
hpcvm resume demo --json
ok "resume --json" json '$j->{ok} && $j->{skew_ns} == 512000 && $j->{vcpus}[0]{at_ns} == 9100000000000000000'
cat >"$FAKE/virsh.resume" <<'EOF'
error: Failed to resume domain 'demo'
error: internal error: unable to execute QEMU command 'cont': vCPU 1 cannot have CPU 3 back: VM 7 (job) owns the core
EOF
hpcvm resume demo
ok "a core is another's: status 2" exits 2
ok "  one sentence" [ "$err" = "hpcvm: vCPU 1 cannot have CPU 3 back: VM 7 (job) owns the core" ]
echo "error: failed to connect to the hypervisor" >"$FAKE/virsh.suspend"
hpcvm preempt demo --json
ok "libvirt is not there: status 2" exits 2
ok "  its words" json '!$j->{ok} && $j->{failed}[0] eq "failed to connect to the hypervisor" && !defined $j->{vcpus}'
rm "$FAKE"/virsh.*
hpcvm preempt 9
ok "a guest without cores: status 0" exits 0
ok "  said so" says "they own no cores"
stopped "stats.err 19" "stats.reason 10" "stats.detail 3" "stats.calls 1"
hpcvm resume demo
ok "the VM ends meanwhile: status 2" exits 2
ok "  a sentence" complains "VM 3 has ended"
echo 00000000-0000-0000-0000-000000000000 >"$vms/3/uuid"
hpcvm preempt 3
ok "no domain of libvirt's: status 2" exits 2
ok "  a sentence" complains "VM 3 has no UUID"
echo "$a" >"$vms/3/uuid"
PATH=$FAKE/nowhere hpcvm resume demo
PATH=$path
ok "no virsh: status 2" exits 2
ok "  a sentence" complains "virsh, of libvirt, cannot be run: No such file"

# --- top
# two_vms [LINE...]: a second VM, without a name, and what differs of its vCPU 2
two_vms()
{
	noisy "vcpu.vcpu 2" "vcpu.cpu 7" "vcpu.tick 3" "vcpu.owned_ns 50000000000" "vcpu.timer_irqs 100" \
		"vcpu.all_irqs 150" "vcpu.preempted 25" "vcpu.migrations 6" "vcpu.drifts 4" "$@"
}
vcpu 10 2 7
two_vms "vcpu.exits 0" "then.exits 900"
hpcvm top --seconds 1
ok "top: no terminal, once: status 0" exits 0
ok "  how many" says "3 vCPUs, in 1 s"
ok "  a line a vCPU" lines 1 '^demo 0     2     74\.0    24\.0   2\.0    kept       250\.0     300\.0     [67][0-9]{3}\.[0-9]    0\.8         0          0$'
ok "  without a name: the id" lines 1 '^10   2     7     -       -      -      thin       2\.0       3\.0 .* 0\.5         6          4$'
ok "  no more lines" lines 5 ''
ok "  no escape sequence" eval '! says $'"'\\033'"
two_vms
hpcvm top --once --json --seconds 1
ok "top --json: status 0" exits 0
ok "  JSON" json 'my $v = $j->{vcpus}; $j->{ok} && @$v == 3 && $j->{hidden} == 0 && $v->[0]{domain}{name} eq "demo" && $v->[0]{guest_percent} == 74 && $v->[0]{out_percent} == 2 && !defined $v->[2]{guest_percent} && $v->[0]{ticks_per_s} == 250 && $v->[0]{exits_per_s} > 700 && $v->[0]{preempted_per_s} == 0.82 && $v->[2]{domain}{id} == 10 && $v->[2]{cpu} == 7 && $v->[2]{tick_mode} eq "thin" && $v->[2]{migrations} == 6 && $v->[2]{drifts} == 4'
two_vms "vcpu.cpu -1"
hpcvm top --seconds 1
ok "top: a vCPU without a core" lines 1 '^10   2     none  -       -      -      -          -         -         0\.0       -           6          4$'
two_vms "stats.calls 5" "stats.err 19" "stats.reason 10" "stats.detail 10"
hpcvm top --seconds 1
ok "top: a VM that ends meanwhile: status 0" exits 0
ok "  it is left out" says "2 vCPUs, in 1 s"
two_vms "stats.calls 5" "stats.err 5"
hpcvm top --seconds 1
ok "top: what should not fail: status 2" exits 2
ok "  a sentence" complains "HPCVM_VCPU_STATS"
two_vms "vm_open.err 1" "vm_open.reason 11" "vm_open.detail 107"
hpcvm top --seconds 1
ok "top: VMs of others: status 0" exits 0
ok "  said so" says "0 vCPUs, in 1 s; 2 VMs of other users not shown"
for o in 0 "" -1 x 86401; do
	hpcvm top --seconds "$o"
	ok "top --seconds '$o': status 2" exits 2
done
two_vms
# terminal ROWS ARG...: hpcvm top with ARG on a terminal, ended after some seconds
terminal()
{
	local rows=$1 end="timeout -s INT 2.8 env LC_ALL=C LD_PRELOAD=$FAKE_SO"
	shift
	status=0 err=
	out=$(TERM=dumb script -qec "stty rows $rows cols 100; $end $HPCVM top $*" /dev/null </dev/null) || status=$?
	out=${out//$'\r'/}
}
clear=$'\033[H\033[2J'
terminal 24 --seconds 1
ok "top on a terminal: first since the claims" says "${clear}3 vCPUs, since they came to their cores"
ok "  then again and again" says "${clear}3 vCPUs, in 1 s"
ok "  exits are not known at first" lines 1 '^demo 0     2     -       -      -  .*  250\.0     300\.0     -   '
ok "  until Ctrl-C" exits 124
terminal 5 --seconds 1
ok "top on a low terminal: what fits" eval 'says "... and 2 more" && ! says "demo 1"'
terminal 24 --seconds 1 --once
ok "top --once on a terminal: status 0" exits 0
ok "  once" eval 'says "3 vCPUs, in 1 s" && ! says "$clear"'
two_vms "stats.calls 3" "stats.err 5"
terminal 24 --seconds 1
ok "top on a terminal, what should not fail: status 2" exits 2
rm -r "$vms/10/vcpus"

rm -r "$vms/3/vcpus"
answers

# --- isolate: a node of four cores with two CPUs each, 0,4 to 3,7
sys=$FAKE/sys/devices/system
for ((i = 0; i < 8; i++)); do
	mkdir -p "$sys/cpu/cpu$i/topology" "$sys/cpu/cpu$i/cpufreq" "$sys/cpu/cpu$i/power"
	echo "$((i % 4)),$((i % 4 + 4))" >"$sys/cpu/cpu$i/topology/thread_siblings_list"
done
echo 0-7 >"$sys/cpu/possible"
echo 0-6 >"$sys/cpu/online"
mkdir -p "$FAKE/run" "$FAKE/proc/irq" "$FAKE/proc/sys/kernel" "$FAKE/proc/sys/vm" "$FAKE/sys/kernel/mm/ksm" \
	"$FAKE/sys/kernel/mm/transparent_hugepage" "$FAKE/sys/devices/virtual/workqueue" "$sys/machinecheck/machinecheck0"
node=(proc/irq/default_smp_affinity=ff "sys/devices/virtual/workqueue/cpumask=ffffffff,000000ff"
	"proc/sys/kernel/watchdog_cpumask=2,6" proc/sys/kernel/timer_migration=1 proc/sys/kernel/numa_balancing=1
	proc/sys/kernel/sched_rt_runtime_us=950000 proc/sys/vm/stat_interval=1 sys/kernel/mm/ksm/run=0
	"sys/kernel/mm/transparent_hugepage/enabled=always [madvise] never"
	sys/devices/system/cpu/cpu2/cpufreq/scaling_governor=schedutil
	sys/devices/system/cpu/cpu1/cpufreq/scaling_governor=schedutil
	sys/devices/system/cpu/cpu2/power/energy_perf_bias=6
	"sys/class/misc/hpcvm/cores/claimable=1,5")
as_at_first()
{
	local f
	for f in "${node[@]}"; do echo "${f#*=}" >"$FAKE/${f%%=*}"; done
}
# restored: each first line is what it was, as written
restored()
{
	local f was
	for f in "${node[@]}"; do
		was=${f#*=}
		is_now "${f%%=*}" "$was" || { [[ $was = *"["* ]] && is_now "${f%%=*}" madvise; } || return
	done
	[ ! -e "$state" ]
}
is_now() { [ "$(head -n 1 "$FAKE/$1")" = "$2" ]; }
state=$FAKE/run/hpcvm/isolate
thp=$FAKE/sys/kernel/mm/transparent_hugepage/enabled
as_at_first

for o in "" "," 2- -2 2-1 a 2,,3 "2,6," 8192 99999999999 0x2 "2;6" 2-15:2; do
	hpcvm isolate -- "$o"
	ok "isolate '$o': status 2" exits 2
done
hpcvm isolate --undo 2
ok "isolate --undo takes no list: status 2" exits 2
hpcvm isolate
ok "nothing is isolated: status 0" exits 0
ok "  said so" says "no core is isolated"
hpcvm isolate --undo
ok "nothing to undo: status 0" exits 0
for o in "0,4=CPU 0's core" "2,4,6=CPU 0's core" "0-6=CPU 0's core" "2=all its siblings, 2,6" "3,7=CPU 7 is not there" \
	"8=CPU 8 is not there"; do
	hpcvm isolate "${o%%=*}"
	ok "isolate ${o%%=*}: status 1" exits 1
	ok "  said why" complains "${o#*=}"
done
ok "  no state" [ ! -e "$state" ]
hpcvm isolate 2,6 --json
ok "isolate: status 0" exits 0
ok "  JSON" json '$j->{ok} && $j->{cores} eq "2,6" && !@{$j->{notes}} && 11 == @{$j->{settings}} && grep { $_->{name} eq "stat_interval" && $_->{set} eq "10" && $_->{was} eq "1" && $_->{now} eq "10" && $_->{target} eq "/proc/sys/vm/stat_interval" } @{$j->{settings}}'
ok "  a mask without them" is_now proc/irq/default_smp_affinity bb
ok "  a longer one" is_now sys/devices/virtual/workqueue/cpumask ffffffff,000000bb
ok "  where nothing is left: all others" is_now proc/sys/kernel/watchdog_cpumask 0-1,3-5,7
ok "  a word" is_now sys/kernel/mm/transparent_hugepage/enabled never
ok "  of the cores" is_now sys/devices/system/cpu/cpu2/cpufreq/scaling_governor performance
ok "  of no others" is_now sys/devices/system/cpu/cpu1/cpufreq/scaling_governor schedutil
ok "  guests may have them" is_now sys/class/misc/hpcvm/cores/claimable 1-2,5-6
cp "$state" "$FAKE/state"
hpcvm isolate
ok "isolate shows: status 0" exits 0
ok "  the cores" says "isolated: CPUs 2,6"
ok "  what was" says "10, was 1"
ok "  what the node has not" says "irqbalance           nothing to set"
hpcvm isolate 2,6
ok "the same once more: status 0" exits 0
ok "  what was is what was at first" diff <(sort "$state") <(sort "$FAKE/state")
hpcvm isolate 1,5
ok "others: status 1" exits 1
ok "  what to do" complains "CPUs 2,6 are isolated; undo that first: hpcvm isolate --undo"
hpcvm isolate --undo
ok "undo: status 0" exits 0
ok "  all is as it was" restored
hpcvm isolate --undo
ok "undo once more: status 0" exits 0

# Killed on its way: the state is there, some settings are as they were.
as_at_first
hpcvm isolate 2,6
echo 1 >"$FAKE/proc/sys/vm/stat_interval"
echo ff >"$FAKE/proc/irq/default_smp_affinity"
hpcvm isolate 2,6
ok "isolate after a kill goes on" is_now proc/sys/vm/stat_interval 10
ok "  what was is what was at first" diff <(sort "$state") <(sort "$FAKE/state")
echo 1 >"$FAKE/proc/sys/vm/stat_interval"
hpcvm isolate --undo
ok "undo after a kill: all is as it was" restored

# What somebody else has changed is theirs.
as_at_first
hpcvm isolate 2,6
echo 30 >"$FAKE/proc/sys/vm/stat_interval"
hpcvm isolate --json
ok "changed since: status 1" exits 1
ok "  a sentence" json '@{$j->{failed}} == 1 && $j->{failed}[0] =~ /stat_interval.*"30" and no longer "10"/'
hpcvm isolate --undo
ok "undo: status 0" exits 0
ok "  it is left" is_now proc/sys/vm/stat_interval 30
ok "  said so" says 'stat_interval (/proc/sys/vm/stat_interval) is left as it is, "30"'
as_at_first
hpcvm isolate 2,6
rm "$FAKE/proc/sys/vm/stat_interval"
hpcvm isolate --undo
ok "what is gone needs nothing: status 0" exits 0
ok "  no state" [ ! -e "$state" ]

# All or nothing: a file that reads as an empty line and cannot be written.
as_at_first
ln -sf /dev/full "$FAKE/proc/sys/kernel/numa_balancing"
hpcvm isolate 2,6
ok "one setting fails: status 1" exits 1
ok "  said which" complains 'nothing is isolated: numa_balancing: /proc/sys/kernel/numa_balancing cannot be "0": No space left'
rm "$FAKE/proc/sys/kernel/numa_balancing"
echo 1 >"$FAKE/proc/sys/kernel/numa_balancing"
ok "  all is as it was" restored
as_at_first
hpcvm isolate 2,6
ln -sf /dev/full "$thp"
sed -i 's|\(/enabled\)\tnever\t|\1\t\t|' "$state"
hpcvm isolate --undo
ok "one cannot be undone: status 1" exits 1
ok "  said which" complains "transparent pages stays as it is"
ok "  it alone stays written down" [ "$(wc -l <"$state")" = 2 ]
rm "$thp"
echo "always madvise [never]" >"$thp"
sed -i 's|\(/enabled\)\t\t|\1\tnever\t|' "$state"
hpcvm isolate --undo
ok "then it can: all is as it was" restored
for text in "" x "2,6
foo	/x	1	2" "2,6
stat_interval	/x"; do
	echo "$text" >"$state"
	hpcvm isolate --undo --json
	ok "a damaged state: status 1" exits 1
	ok "  said so" json '$j->{failed}[0] =~ /is not as this version/'
done
rm "$state"

# systemd, and a daemon of its own
mkdir -p "$FAKE/bin" "$FAKE/units" "$FAKE"/sys/fs/cgroup/{init.scope,system.slice,machine.slice,user.slice,x.mount} \
	"$FAKE/run/systemd/system" "$FAKE/run/systemd/system.control/user.slice.d" "$FAKE/proc/77"
cat >"$FAKE/bin/systemctl" <<'END'
#!/bin/bash
unset LD_PRELOAD
control=${FAKE:?}/run/systemd/system.control
case $1 in
show) cat "$FAKE/units/$4.${2#*=}" 2>/dev/null; exit 0 ;;
set-property)
	[ "$3" != "$(cat "$FAKE/refuse" 2>/dev/null)" ] || { echo "Failed to set unit properties: no"; exit 1; }
	mkdir -p "$control/$3.d"
	echo "${5#*=}" | tee "$FAKE/units/$3.AllowedCPUs" >"$control/$3.d/50-AllowedCPUs.conf" ;;
daemon-reload)
	for u in init.scope system.slice user.slice; do
		cat "$control/$u.d/50-AllowedCPUs.conf" >"$FAKE/units/$u.AllowedCPUs" 2>/dev/null
	done
	exit 0 ;;
try-restart)
	env=$(cat "$FAKE/run/hpcvm/irqbalance" 2>/dev/null)
	printf 'A=1\0%s\0B=2\0' "${env:-IRQBALANCE_BANNED_CPULIST=3}" >"$FAKE/proc/77/environ" ;;
*) exit 1 ;;
esac
END
chmod +x "$FAKE/bin/systemctl"
echo 77 >"$FAKE/units/irqbalance.service.MainPID"
printf 'A=1\0IRQBALANCE_BANNED_CPULIST=3\0' >"$FAKE/proc/77/environ"
echo "0 2 4-7" | tee "$FAKE/units/user.slice.AllowedCPUs" \
	>"$FAKE/run/systemd/system.control/user.slice.d/50-AllowedCPUs.conf"
unit() { [ "$(cat "$FAKE/units/$1.AllowedCPUs" 2>/dev/null)" = "$2" ]; }
path=$PATH
PATH=$FAKE/bin:$PATH
as_at_first
hpcvm isolate 2,6
ok "with systemd: status 0" exits 0
ok "  a slice without a limit" unit system.slice 0-1,3-5,7
ok "  one with a limit" unit user.slice 0,4-5,7
ok "  not that of VMs" [ ! -e "$FAKE/units/machine.slice.AllowedCPUs" ]
ok "  irqbalance keeps off, too" grep -qz IRQBALANCE_BANNED_CPULIST=2-3,6 "$FAKE/proc/77/environ"
hpcvm isolate --json
ok "  shown" json '$j->{ok} && 3 == (grep { $_->{name} eq "slices" } @{$j->{settings}}) && grep { $_->{name} eq "irqbalance" && $_->{set} eq "2-3,6" && $_->{was} eq "3" } @{$j->{settings}}'
hpcvm isolate --undo
ok "  undo: status 0" exits 0
ok "  a slice without a limit" unit system.slice ""
ok "  one with a limit" unit user.slice "0 2 4-7"
ok "  irqbalance" grep -qz IRQBALANCE_BANNED_CPULIST=3 "$FAKE/proc/77/environ"
ok "  no file of ours is left" [ -z "$(find "$FAKE/run" -type f ! -name '*.lock' ! -path '*/user.slice.d/*')" ]
ok "  all is as it was" restored
as_at_first
# Killed with each of its looks at a file, and undone; undoing likewise.
killed()
{
	local k bad=0
	for ((k = 1; k < 1000; k += 1 + k / 40)); do
		as_at_first
		[ "$1" = isolate ] || hpcvm isolate 2,6
		FAKE_KILL=$k hpcvm isolate "${@:2}"
		[ "$status" = 137 ] || break
		hpcvm isolate --undo
		{ [ "$status" = 0 ] && restored && unit system.slice "" && unit user.slice "0 2 4-7" &&
			! grep -qz 'LIST=.*6' "$FAKE/proc/77/environ"; } || bad=$((bad + 1))
	done
	echo "# $1: killed up to look $k at a file, $bad times not undone"
	hpcvm isolate --undo
	[ "$k" -gt 20 ] && [ "$bad" = 0 ]
}
ok "isolate killed at any moment can be undone" killed isolate 2,6
ok "undo, too" killed undo --undo
as_at_first
echo user.slice >"$FAKE/refuse"
hpcvm isolate 2,6
ok "a slice that is refused: status 1" exits 1
ok "  said which" complains "slices: user.slice cannot be kept to CPUs 0,4-5,7: Failed to set unit properties: no"
ok "  all is as it was" eval 'restored && unit system.slice ""'
PATH=$path
rm -r "${FAKE:?}/run" "${FAKE:?}/proc" "${FAKE:?}/sys/fs" "${FAKE:?}/sys/devices"

# --- reserve
for o in "" "--size 2M" "--count 1" "--size 2M --count 0" "--size 2M --count 1025" "--size 2X --count 1" \
	"--size 0 --count 1" "--size -2M --count 1" "--size 99999999999999999999 --count 1" \
	"--size 18014398509481984T --count 1" "--size 2M --count 1 --list" "--list --drop 1" "--drop x" \
	"--drop -1" "--drop" "--keep" "--size 2M --count 1 --node -1" "--size 2M --count 1 --threads 0" \
	"--size 2M --count 1 --uid nobody-of-that-name" "--size 2M --count 1 --gid 4294967295" \
	"--size 2M --count 1 --keep --json" "--size 2M --count 1 --page 0"; do
	# shellcheck disable=SC2086 # words
	hpcvm reserve $o
	ok "reserve $o: status 2" exits 2
done
res=$FAKE/sys/class/misc/hpcvm/reservations
mkdir -p "$res"
echo 0 >"$res/gone"
hpcvm reserve --list --json
ok "no reservation: status 0" exits 0
ok "no reservation: JSON" json '$j->{ok} && !@{$j->{reservations}}'
# reservation ID LENGTH PAGE NODE UID GID HELD
reservation()
{
	mkdir -p "$res/$1"
	echo "$2" >"$res/$1/length"
	echo "$3" >"$res/$1/page_size"
	echo "$4" >"$res/$1/node"
	echo "$5" >"$res/$1/uid"
	echo "$6" >"$res/$1/gid"
	echo "$7" >"$res/$1/held"
}
reservation 10 4294967296 2097152 1 64055 -1 0
reservation 9 1073741824 1073741824 -1 -1 -1 1
reservation 11 4294967296 2097152 0 0 36 0
mkdir "$res/12"
hpcvm reserve --list
ok "list of reservations: status 0" exits 0
ok "  size, page, node, for whom" says "10    4 GiB      2 MiB  1     no    uid 64055"
ok "  held, for anyone" says "9     1 GiB      1 GiB  any   yes   anyone"
ok "  for both" says "uid 0, gid 36"
hpcvm reserve --list --json
ok "list of reservations: JSON" json 'join(",", map { $_->{id} } @{$j->{reservations}}) eq "9,10,11" && $j->{reservations}[0]{held} && !defined $j->{reservations}[0]{node} && $j->{reservations}[1]{uid} == 64055 && !defined $j->{reservations}[1]{gid} && $j->{reservations}[2]{uid} == 0 && $j->{reservations}[2]{gid} == 36 && $j->{reservations}[2]{node} == 0'
for o in 9 all; do
	hpcvm reserve --drop $o
	ok "drop $o: status 0" exits 0
done
answers "drop.err 2" "drop.reason 55" "drop.detail 77"
hpcvm reserve --drop 77
ok "drop what is not there: status 1" exits 1
ok "drop what is not there: a sentence" complains "no reservation 77"
hpcvm reserve --drop all
ok "drop all: what is gone already is no trouble" exits 0
answers "drop.err 1" "drop.reason 48"
hpcvm reserve --drop all --json
ok "drop as nobody: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /only root/'

# The pool grows by what is missing, and gets it back when that was in vain.
pool=$FAKE/sys/kernel/mm/hugepages/hugepages-2048kB
for p in "$pool" "$FAKE/sys/devices/system/node/node0/hugepages/hugepages-2048kB"; do
	mkdir -p "$p"
	echo 7 >"$p/nr_hugepages"
	echo 2 >"$p/free_hugepages"
	echo 1 >"$p/resv_hugepages"
done
answers "create.err 28" "create.reason 20" "create.detail 4"
hpcvm reserve --size 8M --count 2
ok "reserve what a limit forbids: status 1" exits 1
ok "  a sentence" complains "nothing is reserved: 4 hugepages of 2 MiB are in the pool but forbidden"
ok "  the pool is as it was" [ "$(<"$pool/nr_hugepages")" = 7 ]
hpcvm reserve --size 8M --count 2 --node 0 --json
ok "  on a node: JSON" json '!$j->{ok} && $j->{failed}[0] =~ /forbidden/'
ok "  the node's pool is as it was" [ "$(<"$p/nr_hugepages")" = 7 ]
answers "create.err 22" "create.reason 17" "create.detail 5"
hpcvm reserve --size 8M --count 2 --node 5
ok "reserve on no node: a sentence" complains "NUMA node 5 does not exist"
answers "create.err 22" "create.reason 15" "create.detail 2097152"
hpcvm reserve --size 9M --count 200
ok "reserve half a page: a sentence" complains "not a multiple of the page size"
ok "  the pool is as it was" [ "$(<"$pool/nr_hugepages")" = 7 ]

echo "1..$n"
