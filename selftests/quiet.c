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

TEST_F(quiet, interrupts_leave)
{
	static char before[IRQS][64], during[IRQS][64], after[IRQS][64];
	int irq, could = 0, other = -1;

	ASSERT_LT(0, read_all(before));
	for (irq = 0; irq < IRQS; irq++)
		could += has_cpu(before[irq], CPU_B);
	TH_LOG("%d interrupts could come to CPU %d", could, CPU_B);
	ASSERT_LT(1, could);

	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	read_all(during);
	for (irq = 0; irq < IRQS; irq++) {
		EXPECT_TRUE(!has_cpu(during[irq], CPU_B) || is_stuck(irq))
			TH_LOG("%d: %s", irq, during[irq]);
		if (has_cpu(before[irq], CPU_B) && has_cpu(during[irq], 0))
			other = irq;
	}

	/* The administrator moves one of them. */
	ASSERT_LE(0, other);
	ASSERT_EQ(0, put_text(irq_file(other, "smp_affinity_list"), "1"));
	ASSERT_EQ(0, release(self->vm, 0));
	read_all(after);
	EXPECT_STREQ("1\n", after[other]);
	put_text(irq_file(other, "smp_affinity_list"), before[other]);
	strcpy(after[other], before[other]);
	for (irq = 0; irq < IRQS; irq++)
		EXPECT_STREQ(before[irq], after[irq]);
}

/* From one core to the next, and put on a claimed one. */
TEST_F(quiet, interrupts_follow)
{
	static char before[IRQS][64], text[IRQS][64];
	int irq, one = -1;

	ASSERT_LT(0, read_all(before));
	for (irq = 0; irq < IRQS; irq++)
		if (has_cpu(before[irq], CPU_A) && has_cpu(before[irq], CPU_B))
			one = irq;
	ASSERT_LE(0, one);
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	read_all(text);
	EXPECT_TRUE(has_cpu(text[one], CPU_A));
	EXPECT_FALSE(has_cpu(text[one], CPU_B));
	ASSERT_EQ(0, put_text(irq_file(one, "smp_affinity_list"), "3"));
	EXPECT_TRUE(SOON((read_all(text), !has_cpu(text[one], CPU_B))));
	ASSERT_EQ(0, release(self->vm, 0));
	read_all(text);
	EXPECT_STREQ("3\n", text[one]);
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
