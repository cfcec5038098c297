# SPDX-License-Identifier: GPL-2.0-only
# What DKMS built loads, answers and unloads, on the kernel that it was built
# for. Runs on an emulated node: scripts/node/dkms has made the archive.

. "$(dirname "$0")/flow.sh"
release=$(uname -r)

tar -xf "build/$release/dkms.tar" -C /
ok "$release: modprobe hpcvm" modprobe hpcvm
is "$release: it is DKMS's" "$(modinfo -F filename hpcvm | sed 's/\.ko.*//')" "/lib/modules/$release/updates/dkms/hpcvm"
is "$release: its version" "$(cat /sys/module/hpcvm/version)" "$(cat VERSION)"
ok "$release: hpcvm info answers" sh -c 'build/user/hpcvm info | grep -i module; test -c /dev/hpcvm'
if [ -c /dev/kvm ]; then
	ok "$release: ioctls of /dev/hpcvm keep the rules" build/selftests/abi
else
	n=$((n + 1))
	echo "ok $n - $release: ioctls of /dev/hpcvm keep the rules # SKIP no KVM:" \
		"$(dmesg | sed -n 's/.*kvm: \(RT requires.*\)/\1/p'), which TCG has not"
fi
ok "$release: a monitor, whether there is KVM or not" build/selftests/monitor
ok "$release: it hears of every change" build/selftests/change
ok "$release: rmmod hpcvm" rmmod hpcvm
plan
