#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Open MPI's bandwidth over rxe, of 1 MiB from memory that stays (selftests/mpi.c), in
# percent of what it is with the stock cache: the rows of a table.

cd "$(dirname "$0")/../.." || exit
. selftests/rxe.sh
rxe_up
ulimit -l unlimited

# us OVER CACHE: what a message takes
us() { mpi_over "$1" "$2" build/selftests/mpi 200 2>/dev/null | sed -n 's/.* \([0-9]*\) us$/\1/p'; }

for over in fabric ucx; do
	stock=$(us "$over" stock)
	for cache in none hpcvm; do
		printf '%-46s  %12d\n' "$over, cache: $cache" $((100 * stock / $(us "$over" "$cache")))
	done
done
rxe_down
