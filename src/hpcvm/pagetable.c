// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host page tables map in a range of a hugetlb mapping, by size of
 * entry. Only looked at, never filled in; neither the walker nor hugetlb's
 * own lookup is exported, and a hugetlb mapping has no entry below a PMD.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>

#include "hpcvm.h"

static u64 count_pmds(pud_t *pud, unsigned long start, unsigned long end)
{
	u64 mapped = 0;

	for (; start < end; start += PMD_SIZE) {
		pmd_t pmd = READ_ONCE(*pmd_offset(pud, start));

		mapped += pmd_present(pmd) && pmd_leaf(pmd);
	}
	return mapped;
}

static void count_pud(pgd_t *pgd, unsigned long start, unsigned long end,
		      u64 *mapped_2m, u64 *mapped_1g)
{
	p4d_t *p4d = p4d_offset(pgd, start);
	pud_t *pud, entry;

	if (p4d_none(*p4d) || p4d_bad(*p4d))
		return;
	pud = pud_offset(p4d, start);
	entry = READ_ONCE(*pud);
	if (!pud_present(entry))
		return;
	if (pud_leaf(entry))
		*mapped_1g += 1;
	else if (!pud_bad(entry))
		*mapped_2m += count_pmds(pud, start, end);
}

/**
 * hpcvm_pagetable_count() - count present entries by size
 * @mm: whose.
 * @start: a multiple of the mapping's page size.
 * @end: one past the last byte, a multiple of it too.
 * @mapped_2m: the number of 2 MiB entries is added to it.
 * @mapped_1g: the number of 1 GiB entries is added to it.
 *
 * Context: the range lies in one hugetlb VMA; the caller holds mmap_lock and
 * the i_mmap_rwsem of its file, which keep the page tables, shared ones too.
 */
void hpcvm_pagetable_count(struct mm_struct *mm, unsigned long start, unsigned long end,
			   u64 *mapped_2m, u64 *mapped_1g)
{
	unsigned long next;

	mmap_assert_locked(mm);
	for (; start < end; start = next) {
		pgd_t *pgd = pgd_offset(mm, start);

		next = min(ALIGN(start + 1, PUD_SIZE), end);
		if (!pgd_none(*pgd) && !pgd_bad(*pgd))
			count_pud(pgd, start, next, mapped_2m, mapped_1g);
	}
}
