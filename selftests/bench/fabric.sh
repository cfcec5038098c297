#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What libfabric's cache costs (fabric.c), with no monitor, with those that it has, and
# with hpcvm's: the rows of a table.

cd "$(dirname "$0")/../.." || exit
. selftests/rxe.sh
rxe_up
# Twice what is registered: what is stale goes when it is next looked for.
echo 300 >/proc/sys/vm/nr_hugepages
ulimit -l unlimited
fabric=build/selftests/bench/fabric
export FI_VERBS_MR_CACHE_ENABLE=1
FI_MR_CACHE_MAX_COUNT=0 $fabric "no cache" &&
	FI_MR_CACHE_MONITOR=memhooks $fabric memhooks &&
	FI_MR_CACHE_MONITOR=userfaultfd $fabric userfaultfd &&
	LD_PRELOAD=$PWD/build/user/libhpcvm-fabric.so $fabric hpcvm
