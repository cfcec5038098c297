// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm_explain() and hpcvm_broken_next(): a sentence for everything, and
 * the right command in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hpcvm.h"
#include "tap.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define LAST_REASON HPCVM_REASON_PIN_LIMIT
#define LAST_BROKEN HPCVM_BROKEN_POISON

static char dir[] = "/tmp/hpcvm-test.XXXXXX";

static void put(const char *path, const char *content)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "mkdir -p \"$(dirname %s%s)\"", dir, path);
	if (system(full))
		abort();
	snprintf(full, sizeof(full), "%s%s", dir, path);
	f = fopen(full, "w");
	if (!f || fputs(content, f) < 0 || fclose(f))
		abort();
}

static const char *explain(const struct hpcvm_error *e)
{
	static char buf[HPCVM_SENTENCE_MAX];

	return hpcvm_explain(e, buf, sizeof(buf));
}

/* A sentence as hpcvm.h describes one. */
static int sentence(const char *s)
{
	size_t n = strlen(s);

	return n > 10 && n < HPCVM_SENTENCE_MAX - 1 && !strchr(s, '\n') && s[n - 1] != '.' &&
	       !strstr(s, "(null)") && !strstr(s, "does not know (");
}

static void every_reason(void)
{
	char seen[LAST_REASON + 1][HPCVM_SENTENCE_MAX];
	struct hpcvm_error e = {
		.err = EINVAL,
		.cmd = HPCVM_CMD_MEM_SLOT,
		.node = 1,
		.detail = UINT64_MAX,
		.page_size = GIB,
		.pages = UINT64_MAX,
	};
	int twice = 0;

	for (e.reason = 1; e.reason <= LAST_REASON; e.reason++) {
		strcpy(seen[e.reason], explain(&e));
		ok(sentence(seen[e.reason]), "reason %u: %s", e.reason, seen[e.reason]);
		for (uint32_t i = 1; i < e.reason; i++)
			/* the two ways in which a pool is short read alike */
			if (!strcmp(seen[i], seen[e.reason]) &&
			    e.reason != HPCVM_REASON_POOL_SHORT_NODE)
				twice++;
	}
	ok(!twice, "no two reasons have the same sentence");
	e.reason = LAST_REASON + 1;
	ok(strstr(explain(&e), "does not know ("), "LAST_REASON is the last; an unknown one: %s",
	   explain(&e));
}

static void every_errno(void)
{
	static const uint32_t cmds[] = {
		HPCVM_CMD_QUERY, HPCVM_CMD_VM_CREATE, HPCVM_CMD_VM_OPEN, HPCVM_CMD_MEM_CREATE,
		HPCVM_CMD_MEM_SLOT, HPCVM_CMD_MEM_UNSLOT, HPCVM_CMD_MEM_VERIFY, HPCVM_CMD_MEM_ADOPT,
		HPCVM_CMD_RESERVE_PARK, HPCVM_CMD_RESERVE_DROP, HPCVM_CMD_VCPU_ATTACH,
		HPCVM_CMD_VCPU_CLAIM, HPCVM_CMD_VCPU_RELEASE, HPCVM_CMD_VCPU_STATS,
		HPCVM_CMD_MONITOR_CREATE, HPCVM_CMD_MONITOR_WATCH, HPCVM_CMD_MONITOR_UNWATCH,
		HPCVM_CMD_MONITOR_STATS, 0xff, UINT32_MAX,
	};
	int bad = 0;

	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++)
		for (int err = 0; err < 140; err++) {
			struct hpcvm_error e = { .err = err, .cmd = cmds[i], .node = HPCVM_NODE_ANY };

			if (!sentence(explain(&e)) && err) {
				printf("# cmd %x errno %d: %s\n", cmds[i], err, explain(&e));
				bad++;
			}
		}
	ok(!bad, "every call and errno has a sentence");
}

#define IS(expected, ...) do {						\
	struct hpcvm_error e_ = { __VA_ARGS__ };			\
	const char *s_ = explain(&e_);					\
									\
	ok(!strcmp(s_, expected), "%s", s_);				\
} while (0)

#define POOL(r, n, size, where) .err = ENOSPC, .cmd = HPCVM_CMD_MEM_CREATE, \
	.reason = HPCVM_REASON_##r, .detail = n, .page_size = size, .node = where

static void pools(void)
{
#define GLOBAL "/sys/kernel/mm/hugepages/hugepages-"
#define NODE1 "/sys/devices/system/node/node1/hugepages/hugepages-"
	put(GLOBAL "2048kB/nr_hugepages", "1000\n");
	put(GLOBAL "1048576kB/nr_hugepages", "0\n");
	put(NODE1 "2048kB/nr_hugepages", "7\n");
	put(NODE1 "1048576kB/nr_hugepages", "2\n");

	IS("24 hugepages of 2 MiB are missing; add them with: echo 1024 > " GLOBAL "2048kB/nr_hugepages",
	   POOL(POOL_SHORT, 24, 2 * MIB, HPCVM_NODE_ANY));
	IS("1 hugepage of 2 MiB is missing on NUMA node 1; add it with: echo 8 > " NODE1 "2048kB/nr_hugepages",
	   POOL(POOL_SHORT_NODE, 1, 2 * MIB, 1));
	IS("3 hugepages of 2 MiB are missing on NUMA node 1; add them with: echo 10 > " NODE1 "2048kB/nr_hugepages",
	   POOL(POOL_SHORT, 3, 2 * MIB, 1));
	IS("4 hugepages of 1 GiB are missing on NUMA node 1; add them with: echo 6 > " NODE1
	   "1048576kB/nr_hugepages (if the pool does not grow so far, boot the node with hugepagesz=1G hugepages=N)",
	   POOL(POOL_SHORT_NODE, 4, GIB, 1));
	IS("2 hugepages of 2 MiB are missing on NUMA node 5; add them with: echo $(( $(cat /sys/devices/system/node/node5/hugepages/hugepages-2048kB/nr_hugepages) + 2 )) > /sys/devices/system/node/node5/hugepages/hugepages-2048kB/nr_hugepages",
	   POOL(POOL_SHORT_NODE, 2, 2 * MIB, 5));

	IS("5 hugepages of 2 MiB are in the pool but forbidden by a limit: raise hugetlb.2MB.max of the caller's cgroup or of one above it",
	   POOL(LIMIT, 5, 2 * MIB, HPCVM_NODE_ANY));
	put("/proc/self/cgroup", "0::/machine.slice/vm\n");
	put("/sys/fs/cgroup/machine.slice/vm/hugetlb.2MB.max", "0\n");
	IS("5 hugepages of 2 MiB are in the pool but forbidden by a limit; lift it, and those above it, with: echo max > /sys/fs/cgroup/machine.slice/vm/hugetlb.2MB.max",
	   POOL(LIMIT, 5, 2 * MIB, HPCVM_NODE_ANY));
}

static void opening(void)
{
	struct hpcvm_error e;
	char path[128];

	ok(hpcvm_open(&e) == -ENOENT && e.err == ENOENT && !e.reason, "no module: -ENOENT");
	ok(!strcmp(explain(&e), "the hpcvm module is not loaded: modprobe hpcvm"), "%s", explain(&e));

	snprintf(path, sizeof(path), "mkdir -p %s/sys/class/misc/hpcvm", dir);
	if (system(path))
		abort();
	ok(strstr(explain(&e), "cgroup_device_acl"), "%s", explain(&e));

	put("/dev/hpcvm", "");
	snprintf(path, sizeof(path), "%s/dev/hpcvm", dir);
	e.err = EACCES;
	ok(strstr(explain(&e), "security module"), "%s", explain(&e));
	if (geteuid()) {
		chmod(path, 0);
		ok(hpcvm_open(&e) == -EACCES && strstr(explain(&e), "usermod -aG kvm"), "%s",
		   explain(&e));
		chmod(path, 0600);
	} else {
		unlink(path);
		ok(strstr(explain(&e), "not permitted to open /dev/hpcvm: add the user to group kvm"),
		   "%s", explain(&e));
	}
}

static void broken(void)
{
	uint64_t all = 0, one;
	int n = 0;

	for (uint64_t bit = 1; bit <= LAST_BROKEN; bit <<= 1) {
		one = bit;
		const char *s = hpcvm_broken_next(&one);

		ok(s && sentence(s) && !one && strcmp(s, "an unknown promise is broken"),
		   "broken 0x%llx: %s", (unsigned long long)bit, s);
		all |= bit;
	}
	all |= 1ULL << 63 | (uint64_t)LAST_BROKEN << 1 | 1ULL << 31;
	while (hpcvm_broken_next(&all))
		n++;
	ok(n == __builtin_ctz(LAST_BROKEN) + 1 + 3 && !all, "each bit comes once");
	one = 1ULL << 63;
	ok(!strcmp(hpcvm_broken_next(&one), "an unknown promise is broken"), "bit 63 is unknown");
	one = LAST_BROKEN << 1;
	ok(!strcmp(hpcvm_broken_next(&one), "an unknown promise is broken"),
	   "LAST_BROKEN is the last");
}

static void small_buffers(void)
{
	struct hpcvm_error e = { .err = ENOENT, .cmd = UINT32_MAX };
	char whole[HPCVM_SENTENCE_MAX], cut[HPCVM_SENTENCE_MAX + 1];
	int bad = 0;

	hpcvm_explain(&e, whole, sizeof(whole));
	for (size_t len = 0; len <= strlen(whole) + 1; len++) {
		memset(cut, 'x', sizeof(cut));
		hpcvm_explain(&e, cut, len);
		if (cut[len] != 'x')
			bad++;
		if (len && (strlen(cut) != len - 1 || strncmp(cut, whole, len - 1)))
			bad++;
	}
	ok(!bad, "a sentence is cut to its buffer");
	errno = 77;
	explain(&e);
	ok(errno == 77, "errno is left alone");
}

int main(void)
{
	char cmd[64];

	if (!mkdtemp(dir) || setenv("FAKE", dir, 1))
		abort();
	every_reason();
	every_errno();
	pools();
	opening();
	broken();
	small_buffers();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		abort();
	return tap_done();
}
