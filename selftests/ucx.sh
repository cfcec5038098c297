# SPDX-License-Identifier: GPL-2.0-only
# UCX with hpcvm's monitor, over rxe: see selftests/ucx.c.

set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. selftests/rxe.sh

insmod "$HPCVM_KO"
rxe_up
ulimit -l unlimited
# The ends find each other by tcp: rxe loses what UCX's ud_verbs would say. UCX patches
# nothing, so nobody but the monitor tells it of a change.
LD_PRELOAD=$PWD/build/user/libhpcvm-ucx.so UCX_TLS=rc_verbs,tcp UCX_RNDV_THRESH=8k \
	UCX_MEM_MMAP_HOOK_MODE=none build/selftests/ucx "$@"
rxe_down
rmmod hpcvm
