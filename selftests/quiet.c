// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quiet: device interrupts leave a claimed core and come back, and its idle
 * states are shallow meanwhile. The node's network card has several.
 */
#include "vcpu.h"

#define TRACING "/sys/kernel/tracing/"
#define IRQS 512

FIXTURE(quiet)
{
	SPINNING_VM;
};

FIXTURE_SETUP(quiet)
{
	SPINNING_VM_SETUP("2-3");
}

FIXTURE_TEARDOWN(quiet)
{
	SPINNING_VM_TEARDOWN();
}

static const char *irq_file(int irq, const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/irq/%d/%s", irq, name);
	return path;
}

static bool read_text(const char *path, char *text, int length)
{
	FILE *f = fopen(path, "r");
	bool there = f && fgets(text, length, f);

	if (f)
		fclose(f);
	return there;
}

/*
 * Affinities of the message interrupts of PCI devices, as text; an empty one: no
 * such interrupt, or root cannot move it. Others may move at their next coming
 * only, and some (an IOMMU's, of faults) never come.
 */
static int read_all(char (*text)[64])
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[1024], own[64];
	int irq, n = 0;

	memset(text, 0, IRQS * sizeof(*text));
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%d:", &irq) != 1 || irq >= IRQS || !strstr(line, "PCI-MSI") ||
		    !read_text(irq_file(irq, "smp_affinity_list"), own, sizeof(own)) ||
		    put_text(irq_file(irq, "smp_affinity_list"), own))
			continue;
		strcpy(text[irq], own);
		n++;
	}
	if (f)
		fclose(f);
	return n;
}

static bool has_cpu(const char *list, int cpu)
{
	int from, to, used;

	while (sscanf(list, "%d%n", &from, &used) == 1) {
		list += used;
		to = from;
		if (*list == '-' && sscanf(list, "-%d%n", &to, &used) == 1)
			list += used;
		if (cpu >= from && cpu <= to)
			return true;
		if (*list != ',')
			break;
		list++;
	}
	return false;
}

/* One that was moved before and has not come since cannot be moved: not by root either. */
static bool is_stuck(int irq)
{
	return put_text(irq_file(irq, "smp_affinity_list"), "0") == EBUSY;
}

/* Make the interrupt of the disk come that this program lies on. */
static void stir(void)
{
	char byte;
	int fd = open("/proc/self/exe", O_RDONLY);

	if (fd < 0 || read(fd, &byte, 1) != 1)
		abort();
	close(fd);
}

/* Does it come when we ask for it? Only that one can be moved time and again. */
static bool comes(int irq)
{
	char path[64], before[256], after[256];

	snprintf(path, sizeof(path), "/sys/kernel/irq/%d/per_cpu_count", irq);
	if (!read_text(path, before, sizeof(before)))
		return false;
	stir();
	return read_text(path, after, sizeof(after)) && strcmp(before, after);
}

/* What it has now is @list, or will be when it has come. */
static bool has_list(int irq, const char *list)
{
	char now[64];

	stir();
	return read_text(irq_file(irq, "smp_affinity_list"), now, sizeof(now)) &&
	       !strcmp(now, list);
}

/* How many may come to a CPU. */
static int how_many(char (*text)[64], int cpu)
{
	int irq, n = 0;

	for (irq = 0; irq < IRQS; irq++)
		n += has_cpu(text[irq], cpu);
	return n;
}

/* The last one of these that comes, or -1. */
static int one_that_comes(char (*text)[64])
{
	int irq;

	for (irq = IRQS - 1; irq >= 0; irq--)
		if (has_cpu(text[irq], CPU_A) && has_cpu(text[irq], CPU_B) && comes(irq))
			break;
	return irq;
}

TEST_F(quiet, interrupts_leave)
{
	static char before[IRQS][64], text[IRQS][64];
	int irq, other;

	ASSERT_LT(0, read_all(before));
	TH_LOG("%d interrupts could come to CPU %d", how_many(before, CPU_B), CPU_B);
	ASSERT_LT(1, how_many(before, CPU_B));
	other = one_that_comes(before);
	ASSERT_LE(0, other);

	/* Those that cannot be moved now will be tried again. */
	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	SOON((stir(), read_all(text), !how_many(text, CPU_B)));
	EXPECT_FALSE(has_cpu(text[other], CPU_B));
	EXPECT_TRUE(has_cpu(text[other], 0));
	for (irq = 0; irq < IRQS; irq++)
		EXPECT_TRUE(!has_cpu(text[irq], CPU_B) || is_stuck(irq))
			TH_LOG("%d: %s", irq, text[irq]);

	/* The administrator moves one of them. */
	ASSERT_EQ(0, put_text(irq_file(other, "smp_affinity_list"), "1"));
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_TRUE(has_list(other, "1\n"));
	EXPECT_EQ(0, put_text(irq_file(other, "smp_affinity_list"), before[other]));
	for (irq = 0; irq < IRQS; irq++)
		EXPECT_TRUE(!*before[irq] || has_list(irq, before[irq]) || is_stuck(irq))
			TH_LOG("%d had %s", irq, before[irq]);
}

/* From one core to the next, and put on a claimed one. */
TEST_F(quiet, interrupts_follow)
{
	static char before[IRQS][64], text[IRQS][64];
	int one;

	ASSERT_LT(0, read_all(before));
	one = one_that_comes(before);
	ASSERT_LE(0, one);
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	EXPECT_TRUE(SOON((stir(), read_all(text),
			  has_cpu(text[one], CPU_A) && !has_cpu(text[one], CPU_B))));
	ASSERT_EQ(0, put_text(irq_file(one, "smp_affinity_list"), "3"));
	EXPECT_TRUE(SOON((stir(), read_all(text), *text[one] && !has_cpu(text[one], CPU_B))));
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_TRUE(SOON(has_list(one, "3\n")));
	put_text(irq_file(one, "smp_affinity_list"), before[one]);
}

/* How often a line of the trace names this event and has this, too. */
static int traced(const char *event, const char *what)
{
	char line[512];
	FILE *f = fopen(TRACING "trace", "r");
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, event) && strstr(line, what);
	if (f)
		fclose(f);
	return n;
}

TEST_F(quiet, shallow_idle)
{
	const char *add = TRACING "events/power/dev_pm_qos_add_request/enable";
	const char *remove = TRACING "events/power/dev_pm_qos_remove_request/enable";

	if (access("/sys/devices/system/cpu/cpu3/power/pm_qos_resume_latency_us", F_OK))
		SKIP(return, "this kernel has no power management of devices");
	put_text(TRACING "trace", "\n");
	ASSERT_EQ(0, put_text(add, "1"));
	ASSERT_EQ(0, put_text(remove, "1"));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	EXPECT_EQ(1, traced("dev_pm_qos_add_request",
			    "device=cpu3 type=DEV_PM_QOS_RESUME_LATENCY new_value=2"));
	EXPECT_EQ(0, traced("dev_pm_qos_remove_request", "device=cpu3"));
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_EQ(1, traced("dev_pm_qos_remove_request", "device=cpu3"));
	put_text(add, "0");
	put_text(remove, "0");
}

TEST_HARNESS_MAIN
