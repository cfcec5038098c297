// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host page tables map in a hugetlb mapping, entry by entry. Only
 * looked at, never filled in; neither the walker nor hugetlb's own lookup is
 * exported, and a hugetlb mapping has no entry below a PMD.
 *
 * An entry that is being migrated or has a memory error is not present.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>

#include "hpcvm.h"

/*
 * A page of a private mapping that was only read so far is mapped read-only
 * too, but it is the mapping's own and stays: nobody else has it.
 */
static void look_at_page(struct page *page, bool writable, struct hpcvm_entry *entry)
{
	entry->node = page_to_nid(page);
	entry->own = writable || (PageAnon(page) && PageAnonExclusive(page));
}

static u64 look_at_pmd(pud_t *pud, unsigned long addr, struct hpcvm_entry *entry)
{
	pmd_t pmd = READ_ONCE(*pmd_offset(pud, addr));

	if (!pmd_present(pmd) || !pmd_leaf(pmd))
		return 0;
	look_at_page(pmd_page(pmd), pmd_write(pmd), entry);
	return PMD_SIZE;
}

/**
 * hpcvm_pagetable_look() - look at the entry that maps an address
 * @mm: whose.
 * @addr: in a hugetlb mapping.
 * @entry: filled in if there is one.
 *
 * Return: the size of the entry, 2 MiB or 1 GiB; 0: none is present.
 * Context: the caller holds mmap_lock and the i_mmap_rwsem of the mapping's
 * file, which keep the page tables, shared ones too, and their hugepages.
 */
u64 hpcvm_pagetable_look(struct mm_struct *mm, unsigned long addr, struct hpcvm_entry *entry)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	pud_t *pud, copy;
	p4d_t *p4d;

	mmap_assert_locked(mm);
	if (pgd_none(*pgd) || pgd_bad(*pgd))
		return 0;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d) || p4d_bad(*p4d))
		return 0;
	pud = pud_offset(p4d, addr);
	copy = READ_ONCE(*pud);
	if (!pud_present(copy))
		return 0;
	if (!pud_leaf(copy))
		return pud_bad(copy) ? 0 : look_at_pmd(pud, addr, entry);
	look_at_page(pud_page(copy), pud_write(copy), entry);
	return PUD_SIZE;
}
