# SPDX-License-Identifier: GPL-2.0-only
# libfabric with hpcvm's memory monitor, over rxe: see selftests/fabric.c.

set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. selftests/rxe.sh

insmod "$HPCVM_KO"
rxe_up
LD_PRELOAD=$PWD/build/user/libhpcvm-fabric.so FI_VERBS_MR_CACHE_ENABLE=1 build/selftests/fabric "$@"
rxe_down
rmmod hpcvm
