# SPDX-License-Identifier: GPL-2.0-only
# hpcvm reserve as an administrator uses it: memory is ready before a guest asks
# for it, the machine type draws it by itself, the service makes up for it; what
# cannot be is said in words, and nothing is left behind.

. "$(dirname "$0")/flow.sh"
node_up

res=/sys/class/misc/hpcvm/reservations

reservations() { find "$res" -mindepth 1 -maxdepth 1 -type d | wc -l; }
reserved() { [ "$(reservations)" = "$1" ]; }
pool_size() { cat "$pool/nr_hugepages"; }
none_left() { [ "$(pool_size)" = "$1" ] && pool_is "$1" && reserved 0; }
json() { python3 -c "import json; print(json.load(open('$work/out'))$1)"; }

set_pool 20
ok "hpcvm reserve" hpcvm reserve --size 512M --count 2 --gid kvm
is "  the pool has grown by what was missing" "$(pool_size)" 512
is "  every page is parked" "$(free_pages)" 0
hpcvm reserve --list --json >"$work/out"
is "  --list: two" "$(json "['reservations'].__len__()")" 2
is "  --list: their length" "$(json "['reservations'][1]['length']")" $((512 << 20))
is "  --list: for whom" "$(json "['reservations'][0]['gid']")" "$(getent group kvm | cut -d: -f3)"
is "  --list: nobody holds them" "$(json "['reservations'][0]['held']")" False

domain r1 "$small" >/dev/null
ok "a domain starts, with no free page in the pool" virsh start r1
is "  it has drawn a reservation" "$(reservations)" 1
is "  and no page" "$(free_pages)" 0
ok "  hpcvm proof" hpcvm proof r1
domain r3 "$strip; s|2097152|262144|" >/dev/null
fails "a domain of another size does not" "128 hugepages of 2 MiB are missing" virsh start r3
ok "  the reservation is there still" reserved 1
gone r1
gone r3
ok "its pages go to the pool" within 10 pool_is 256
ok "hpcvm reserve --drop all" hpcvm reserve --drop all
ok "  every page is back" within 10 none_left 512

# On a NUMA node, for a domain that is bound to it.
set_pool 0
ok "hpcvm reserve --node 1" hpcvm reserve --size 512M --count 1 --node 1 --threads 3
is "  on that node's pool" "$(cat /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages)" 256
domain r1 "$small; s|<vcpu>|<numatune><memory mode='strict' nodeset='0'/></numatune>&|" >/dev/null
fails "a domain on node 0 does not draw it" "missing on NUMA node 0" virsh start r1
gone r1
domain r1 "$small; s|<vcpu>|<numatune><memory mode='strict' nodeset='1'/></numatune>&|" >/dev/null
ok "a domain on node 1 does" virsh start r1
ok "  it is there, proved" hpcvm proof r1
ok "  nothing is left" reserved 0
gone r1
ok "  its pages go to the pool" within 10 pool_is 256

# What cannot be: one sentence, nothing kept, the pool as it was.
set_pool 40
fails "more than the node has" "too few" hpcvm reserve --size 64G --count 4
ok "  nothing is left" within 20 none_left 40
fails "more pages of 1 GiB than memory has whole" "hugepagesz=1G" \
	hpcvm reserve --size 7G --count 1 --page 1G
is "  that pool is empty again" "$(cat "$pool_1g/nr_hugepages")" 0
fails "a node that is none" "NUMA node 7 does not exist" hpcvm reserve --size 64M --count 1 --node 7
fails "a user who is not root" "only root" \
	setpriv --reuid nobody --regid kvm --clear-groups hpcvm reserve --size 512M --count 1
ok "  nothing is left" within 20 none_left 40
echo +hugetlb >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/small
echo $((100 << 20)) >/sys/fs/cgroup/small/hugetlb.2MB.max
fails "a cgroup's limit" "forbidden by a limit" \
	sh -c 'echo $$ >/sys/fs/cgroup/small/cgroup.procs; hpcvm reserve --size 64M --count 4'
ok "  nothing is left" within 20 none_left 40
rmdir /sys/fs/cgroup/small
# signalled SIGNAL SECONDS: so long after the pool has begun to grow; nothing is
# parked then, as there are 4 GiB to zero.
signalled()
{
	set_pool 40
	hpcvm reserve --size 1G --count 4 --threads 1 &
	while [ "$(pool_size)" = 40 ]; do :; done
	sleep "$2"
	kill -"$1" $!
	wait $!
}
fails "told to end while it populates" "a signal came" signalled TERM 0
ok "  nothing is left" within 20 none_left 40
all_free() { [ "$(free_pages)" = "$(pool_size)" ] && [ "$(cat "$pool/resv_hugepages")" = 0 ]; }
for s in 0 0.05 0.2; do
	signalled KILL "$s" 2>/dev/null
	ok "killed $s s after the pool has grown: every page is free" within 20 all_free
	ok "  nothing is reserved" reserved 0
done

# The service.
set_pool 0
hpcvm reserve --size 512M --count 1 >/dev/null
hpcvm reserve --keep --size 512M --count 2 2>"$work/keep" &
keep=$!
ok "--keep counts what is there, and adds to it" within 60 reserved 2
ok "  and says so" within 10 grep -q "2 reservations are ready" "$work/keep"
is "  the pool has what it needs" "$(pool_size)" 512
is "  it goes on at idle priority" "$(sed 's/.*) //' "/proc/$keep/stat" | cut -d' ' -f39)" 5
domain r1 "$small" >/dev/null
virsh start r1 >/dev/null
ok "one is drawn" reserved 1
ok "  it says what is missing" within 30 grep -q "256 hugepages of 2 MiB are missing" "$work/keep"
gone r1
ok "  and makes up for it when the guest has ended" within 40 reserved 2
is "  it said so once" "$(grep -c missing "$work/keep")" 1
is "  the pool has not grown" "$(pool_size)" 512
set_pool 768
virsh start r1 >/dev/null 2>&1 || { domain r1 "$small" >/dev/null; virsh start r1 >/dev/null; }
ok "  with free pages, at once" within 20 sh -c "[ \$(cat $pool/free_hugepages) = 0 ]"
ok "  both are there" within 5 reserved 2
kill "$keep"
wait "$keep"
is "it ends when told to" $? 0
ok "  what it has made stays" reserved 2
ok "  also what was drawn" hpcvm proof r1
ok "the module has no user but the guest" sh -c '[ "$(cat /sys/module/hpcvm/refcnt)" = 1 ]'
gone r1
within 10 pool_is 256 >/dev/null
ok "the module unloads" rmmod hpcvm
ok "  every page is back" within 10 pool_is 768
load

# Pages of 1 GiB: none is free, for they are all parked.
set_pool 0
if hpcvm reserve --size 3G --count 1 --page 1G >"$work/said" 2>&1; then
	domain r1 "$strip; s|2097152|3145728|" >/dev/null
	ok "a domain draws pages of 1 GiB" virsh start r1
	ok "  hpcvm proof" hpcvm proof --json r1
	is "  nothing is left" "$(reservations)" 0
	is "  no page of 2 MiB was wanted" "$(pool_size)" 0
	gone r1
	ok "  its pages go to the pool" within 20 sh -c "[ \$(cat $pool_1g/free_hugepages) = 3 ]"
else
	n=$((n + 1))
	echo "ok $n - 1 GiB pages # SKIP $(cat "$work/said")"
fi
echo 0 >"$pool_1g/nr_hugepages"
plan
