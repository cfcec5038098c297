// SPDX-License-Identifier: GPL-2.0-only
/*
 * mpi ROUNDS [remap]: what selftests/mpi.sh runs by mpirun, two processes: one sends
 * 1 MiB a round from always the same address, the other compares it. With remap, at
 * each fifth round both have other pages there. It says how long a round's message
 * takes, the median.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LENGTH (1 << 20)

static char *map_at(char *at)
{
	char *got = mmap(at, LENGTH, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);

	if (got == MAP_FAILED)
		MPI_Abort(MPI_COMM_WORLD, 1);
	return got;
}

static long wrong(const char *at, char wanted)
{
	long n = 0;
	int i;

	for (i = 0; i < LENGTH; i++)
		n += at[i] != wanted;
	return n;
}

static int longer(const void *a, const void *b)
{
	return *(const double *)a > *(const double *)b ? 1 : -1;
}

int main(int argc, char **argv)
{
	int rank, i, rounds = argc > 1 ? atoi(argv[1]) : 10;
	double *took = calloc(rounds, sizeof(*took));
	long bad = 0;
	char *at;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	at = map_at(NULL);
	for (i = 0; i < rounds; i++) {
		if (argc > 2 && i % 5 == 4)
			map_at(at);
		memset(at, rank ? -1 : i % 100, LENGTH);
		MPI_Barrier(MPI_COMM_WORLD);
		if (rank) {
			took[i] = -MPI_Wtime();
			MPI_Recv(at, LENGTH, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			took[i] += MPI_Wtime();
			bad += wrong(at, i % 100);
		} else {
			MPI_Send(at, LENGTH, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
		}
	}
	qsort(took, rounds, sizeof(*took), longer);
	if (rank)
		printf("%d rounds, %ld bytes wrong, %.0f us\n", rounds, bad,
		       took[rounds / 2] * 1e6);
	free(took);
	MPI_Finalize();
	return bad != 0;
}
