# SPDX-License-Identifier: GPL-2.0-only
# RAM that libvirt has allocated, <hugepages/> in all its forms, is adopted
# after proof; NUMA cells lie where <numatune> says, with and without it; what
# happens to the memory later shows.

. "$(dirname "$0")/flow.sh"
node_up

# libvirt looks for mounts of hugepages when it starts.
mkdir -p /dev/hugepages1G
mountpoint -q /dev/hugepages1G || mount -t hugetlbfs -o pagesize=1G none /dev/hugepages1G
kill "$(cat /run/libvirtd.pid 2>/dev/null || pidof libvirtd)"
within 20 sh -c '! pidof libvirtd' >/dev/null
libvirtd -d
within 60 virsh uri >/dev/null

share=/var/lib/hpcvm/guest/share
on() { echo "/sys/devices/system/node/node$1/hugepages/hugepages-2048kB"; }
free_on() { cat "$(on "$1")/free_hugepages"; }

# backing XML: the sed that puts it into <memoryBacking>
backing() { echo "s|<vcpu>|<memoryBacking>$1</memoryBacking>&|"; }
# cells MIB MIB [NODE NODE]: two NUMA cells, each bound to one of the node's
cells()
{
	local xml="<cpu mode='host-passthrough'><numa>"
	xml+="<cell id='0' cpus='0' memory='$1' unit='MiB'/>"
	xml+="<cell id='1' cpus='1' memory='$2' unit='MiB'/></numa></cpu>"
	[ -z "${3:-}" ] || xml+="<numatune><memnode cellid='0' mode='strict' nodeset='$3'/>
<memnode cellid='1' mode='strict' nodeset='$4'/></numatune>"
	echo "s|<vcpu>1|<vcpu>2|; s|<cpu mode='host-passthrough'/>|${xml//$'\n'/}|"
}

proof() { hpcvm proof --json "$1" >"$work/proof.json"; }
# slots FIELD: of all slots, in order of address
slots()
{
	python3 -c "
import json
print(*(str(s['$1']).replace(' ', '') for s in json.load(open('$work/proof.json'))['memory']['slots']))"
}

# proved NAME SED: the domain starts, and each promise to it holds
proved()
{
	domain h "$2" >"$work/define" 2>&1 || cat "$work/define"
	ok "$1: virsh start" virsh start h
	ok "$1: hpcvm proof" proof h
}
# over PAGES: the domain ends, every page is back
over()
{
	gone h
	ok "  every page is back" within 20 pool_is "$1"
}

set_pool 0
echo 300 >"$(on 0)/nr_hugepages"
echo 300 >"$(on 1)/nr_hugepages"
is "a pool of 300 pages on each NUMA node" "$(free_on 0) $(free_on 1)" "300 300"

proved "<hugepages/>" "$small; $(backing '<hugepages/>')"
is "  it is adopted" "$(slots adopted)" True
is "  all of it is there" "$(slots pages_present)" 256
is "  it took its own pages and no more" "$(free_pages)" 344
ok "  virsh destroy" virsh destroy h
over 600

proved "<hugepages/>, shared" "$small; $(backing "<hugepages/><access mode='shared'/>")"
is "  it is adopted" "$(slots adopted)" True
over 600

proved "<hugepages/>, memfd" "$small; $(backing "<hugepages/><source type='memfd'/>")"
is "  it is adopted" "$(slots adopted)" True
over 600

proved "<hugepages/> on node 1" "$small; $(backing '<hugepages/>')
s|<vcpu>|<numatune><memory mode='strict' nodeset='1'/></numatune>&|"
is "  promised" "$(slots node)" 1
is "  seen" "$(slots numa_nodes)" "[1]"
over 600

proved "two cells" "$small; $(cells 128 384 1 0)"
is "  from hpcvm" "$(slots adopted)" "False False"
is "  promised" "$(slots node)" "1 0"
is "  seen" "$(slots numa_nodes)" "[1] [0]"
is "  of the sizes asked for" "$(slots length)" "$((128 << 20)) $((384 << 20))"
over 600

proved "two cells, without numatune" "$small; $(cells 128 384)"
is "  promised" "$(slots node)" "None None"
over 600

proved "two cells, one with <hugepages/>" "$small; $(cells 256 256 0 1)
$(backing "<hugepages><page size='2' unit='M' nodeset='1'/></hugepages>")"
is "  the other from hpcvm" "$(slots adopted)" "False True"
is "  promised" "$(slots node)" "0 1"
is "  seen" "$(slots numa_nodes)" "[0] [1]"
over 600

# What is not all there is refused, whoever asks.
fails "hugepages that nobody has populated" "is not there: memory must be populated" \
	timeout 60 qemu-system-hpcvm -machine pc-q35-hpcvm-1.0,memory-backend=m -accel kvm -m 64 \
	-nodefaults -display none -object memory-backend-file,id=m,size=64M,mem-path=/dev/hugepages
ok "  nothing is left" within 20 pool_is 600

# Somebody takes pages away from a running guest, of either kind of mapping.
for access in private shared; do
	domain h "$small; $(backing "<hugepages/><access mode='$access'/>")" >/dev/null
	virsh start h >/dev/null
	virsh suspend h >/dev/null	# whoever touches what is gone is killed
	qemu=$(cat "$vms"/*/pid)
	fd=$(find "/proc/$qemu/fd" -lname '/dev/hugepages/*' | head -n 1)
	ok "$access: a hole is punched into the file" \
		fallocate --punch-hole --offset $((100 << 20)) --length $((4 << 20)) "$fd"
	fails "  hpcvm proof says where" "first seen at 0x6400000" hpcvm proof h
	ok "  the file is cut" truncate --size $((64 << 20)) "$fd"
	fails "  hpcvm proof says where" "first seen at 0x4000000" hpcvm proof h
	over 600
done

# A guest that really runs: two cells of <hugepages/>, one on each NUMA node.
echo 600 >"$(on 0)/nr_hugepages"
echo 600 >"$(on 1)/nr_hugepages"
cat >"$work/job" <<'END'
ls -d /sys/devices/system/node/node[0-9] | wc -l >/share/nodes
mount -o remount,size=90% /dev/shm
dd if=/dev/zero of=/dev/shm/fill bs=1M count=1200
touch /share/filled
sleep 1000
END
guest_files "$work/job"
rm -f "$share/filled" "$share/nodes"
proved "two cells of <hugepages/>" "$(cells 1024 1024 0 1); $(backing '<hugepages/>')"
is "  adopted" "$(slots adopted)" "True True"
is "  seen" "$(slots numa_nodes)" "[0] [1]"
ok "  the guest boots and fills its memory" within 240 test -e "$share/filled"
is "  it sees two NUMA nodes" "$(cat "$share/nodes")" 2
ok "  hpcvm proof" proof h
is "  KVM maps none of it by 4K" "$(python3 -c "
import json; print(json.load(open('$work/proof.json'))['memory']['kvm_pages_4k_ram'])")" 0
over 1200
set_pool 0

# Pages of 1 GiB, on both sides of the hole below 4 GiB. Its firmware is enough:
# it moves to the end of the lower part.
scripts/node/guest-prepare --undo
echo 3 >"$pool_1g/nr_hugepages"
mapped_by_1g()
{
	proof h && python3 -c "
import json; assert json.load(open('$work/proof.json'))['memory']['kvm_pages_1g'] >= 1"
}
if [ "$(cat "$pool_1g/free_hugepages")" = 3 ]; then
	proved "<page size='1' unit='G'/>" "$strip; s|2097152|3145728|
$(backing "<hugepages><page size='1' unit='G'/></hugepages>")"
	is "  adopted" "$(slots adopted)" "True True"
	is "  in pages of 1 GiB" "$(slots page_size)" "$((1 << 30)) $((1 << 30))"
	ok "  KVM maps by 1 GiB" within 60 mapped_by_1g
	gone h
	ok "  every page is back" within 20 sh -c "[ \$(cat $pool_1g/free_hugepages) = 3 ]"
else
	n=$((n + 1))
	echo "ok $n - 1 GiB pages # SKIP the node has no 3 contiguous GiB left"
fi
echo 0 >"$pool_1g/nr_hugepages"
umount /dev/hugepages1G
plan
