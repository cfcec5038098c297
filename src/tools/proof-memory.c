// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm proof, memory: all RAM is hugepages, where it was promised, and KVM
 * maps it by hugepages.
 *
 * The module says which promises are broken (bits of enum hpcvm_broken) and
 * what it counted. This file puts each promise into one line, so that what
 * holds is as visible as what does not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

struct memory {
	struct hpcvm_mem_verify v;
	struct hpcvm_slot_report *slots;
	uint64_t page_size;		/* the smallest of any slot; 0: no slot */
	uint64_t present, wanted;	/* hugepages, all slots */
	uint64_t promised;		/* nodes */
	uint64_t adopted;		/* bytes */
	enum nx_state nx;
};

#define ALL_BROKEN (HPCVM_BROKEN_NO_RAM | HPCVM_BROKEN_ABSENT | HPCVM_BROKEN_NODE | \
		    HPCVM_BROKEN_UNCOVERED | HPCVM_BROKEN_OTHER_MEMORY | \
		    HPCVM_BROKEN_SMALL | HPCVM_BROKEN_DIRTY_LOG | \
		    HPCVM_BROKEN_4K | HPCVM_BROKEN_SPLITS | \
		    HPCVM_BROKEN_COPY_ON_WRITE | HPCVM_BROKEN_POISON)

/* Ask until there is room for every slot. */
static int verify(struct memory *m, int vm, struct hpcvm_error *e)
{
	uint32_t room = 64;

	for (;;) {
		int ret;

		m->slots = reallocarray(m->slots, room, sizeof(*m->slots));
		if (!m->slots)
			abort();
		ret = hpcvm_mem_verify(vm, &m->v, m->slots, room, e);
		if (ret || m->v.nr_slots <= room)
			return ret;
		room = m->v.nr_slots;
	}
}

static void add_up(struct memory *m)
{
	for (uint32_t i = 0; i < m->v.nr_slots; i++) {
		const struct hpcvm_slot_report *s = &m->slots[i];

		if (!m->page_size || s->page_size < m->page_size)
			m->page_size = s->page_size;
		m->present += s->pages_present;
		m->wanted += s->page_size ? s->length / s->page_size : 0;
		if (s->kind == HPCVM_SLOT_ADOPTED)
			m->adopted += s->length;
		if (s->node >= 0)
			m->promised |= 1ULL << (s->node < 63 ? s->node : 63);
	}
	/* Two ways to say one thing: believe the worse. */
	if (m->v.kvm_pages_4k_ram)
		m->v.broken |= HPCVM_BROKEN_4K;
}

static enum mark mark(const struct memory *m, uint64_t bits)
{
	return m->v.broken & bits ? MARK_NO : MARK_YES;
}

static void print(const struct report *r, const struct memory *m)
{
	const struct hpcvm_mem_verify *v = &m->v;

	report_line(r, mark(m, HPCVM_BROKEN_NO_RAM), "RAM is in hpcvm's charge",
		    "%s in %u slot%s, %s of it adopted", size_word(v->ram_bytes).s, v->nr_slots,
		    v->nr_slots == 1 ? "" : "s", m->adopted ? size_word(m->adopted).s : "none");
	report_line(r, mark(m, HPCVM_BROKEN_ABSENT | HPCVM_BROKEN_COPY_ON_WRITE |
			       HPCVM_BROKEN_POISON), "all of it is hugepages",
		    "%" PRIu64 " of %" PRIu64 " there, of %s or more", m->present, m->wanted,
		    size_word(m->page_size).s);
	if (m->promised)
		report_line(r, mark(m, HPCVM_BROKEN_NODE), "on the NUMA nodes promised",
			    "promised %s, seen %s", node_words(m->promised).s,
			    node_words(v->nodes).s);
	else
		report_line(r, mark(m, HPCVM_BROKEN_NODE), "on the NUMA nodes promised",
			    "none promised, seen %s", node_words(v->nodes).s);
	report_line(r, mark(m, HPCVM_BROKEN_UNCOVERED | HPCVM_BROKEN_OTHER_MEMORY),
		    "KVM maps this memory, and no other, as RAM", "%s",
		    v->broken & HPCVM_BROKEN_OTHER_MEMORY ? "other memory seen" :
		    v->broken & HPCVM_BROKEN_UNCOVERED ? "gaps seen" : "no gap");
	report_line(r, mark(m, HPCVM_BROKEN_SMALL), "KVM can map it by hugepages only",
		    "from %s up", size_word(HPCVM_LEGACY_END).s);
	report_line(r, mark(m, HPCVM_BROKEN_4K), "KVM maps none of it by 4K pages",
		    "%llu; by 2M %llu, by 1G %llu", v->kvm_pages_4k_ram, v->kvm_pages_2m,
		    v->kvm_pages_1g);
	report_line(r, MARK_NOTE, "legacy remainder (first 2 MiB, ROMs, BARs) by 4K",
		    "%llu of at most %llu", v->kvm_pages_4k_legacy, v->kvm_legacy_frames);
	report_line(r, mark(m, HPCVM_BROKEN_DIRTY_LOG), "dirty logging is off", "%s",
		    v->broken & HPCVM_BROKEN_DIRTY_LOG ? "on" : "off");
	report_line(r, mark(m, HPCVM_BROKEN_SPLITS), "nx_huge_pages has split no hugepage",
		    "%llu split now", v->nx_lpage_splits);
	report_line(r, m->nx == NX_OFF ? MARK_YES : MARK_NO, "nx_huge_pages is off on this node",
		    "%s", m->nx == NX_OFF ? "off" : m->nx == NX_ON ? "active" : "unknown");
	if (v->broken & ~(uint64_t)ALL_BROKEN)
		report_line(r, MARK_NO, "promises newer than this program", "0x%llx",
			    v->broken & ~(uint64_t)ALL_BROKEN);
}

static void print_slots(const struct report *r, const struct memory *m)
{
	if (!m->v.nr_slots)
		return;
	report_text(r, "\n  %-12s %-10s %-8s %-6s %-5s %-8s %-13s %-7s %-5s %-10s %s\n", "GPA",
		    "LENGTH", "KIND", "PAGES", "NODE", "SEEN ON", "PRESENT", "2M", "1G", "KVM MAPS",
		    "BROKEN");
	for (uint32_t i = 0; i < m->v.nr_slots; i++) {
		const struct hpcvm_slot_report *s = &m->slots[i];
		char gpa[24], node[16], there[48];

		snprintf(gpa, sizeof(gpa), "0x%llx", s->gpa);
		snprintf(node, sizeof(node), "%d", s->node);
		snprintf(there, sizeof(there), "%llu/%llu", s->pages_present,
			 s->page_size ? s->length / s->page_size : 0);
		report_text(r, "  %-12s %-10s %-8s %-6s %-5s %-8s %-13s %-7llu %-5llu %-10s %s\n",
			    gpa, size_word(s->length).s,
			    s->kind == HPCVM_SLOT_ADOPTED ? "adopted" : "file",
			    size_word(s->page_size).s,
			    s->node == HPCVM_NODE_ANY ? "any" : node, node_words(s->nodes).s,
			    there, s->mapped_2m, s->mapped_1g, size_word(s->kvm_bytes).s,
			    s->broken ? "yes" : "no");
	}
	report_text(r, "\n");
}

/* Each broken promise once: with the slot where it was seen, if one was. */
static void fail(struct report *r, const struct memory *m)
{
	uint64_t rest = m->v.broken;

	for (uint32_t i = 0; i < m->v.nr_slots; i++) {
		const struct hpcvm_slot_report *s = &m->slots[i];
		uint64_t bits = s->broken;
		const char *sentence;

		rest &= ~bits;
		while ((sentence = hpcvm_broken_next(&bits)))
			report_fail(r, "%s, in the slot at guest address 0x%llx, first seen at 0x%llx",
				    sentence, s->gpa, s->broken_gpa);
	}
	for (const char *sentence; (sentence = hpcvm_broken_next(&rest)); )
		report_fail(r, "%s", sentence);

	if (m->nx == NX_ON)
		report_fail(r, "nx_huge_pages is active on this node, so KVM splits hugepages that the guest executes from; switch it off with: echo off > "
			    NX_PARAMETER);
	else if (m->nx == NX_UNKNOWN)
		report_fail(r, "whether nx_huge_pages is active on this node cannot be told: " NX_PARAMETER " cannot be read");
}

static struct json_object *slots_json(const struct memory *m)
{
	struct json_object *a = json_object_new_array();

	for (uint32_t i = 0; i < m->v.nr_slots; i++) {
		const struct hpcvm_slot_report *s = &m->slots[i];
		struct json_object *o = json_object_new_object();

		json_add_u64(o, "gpa", s->gpa);
		json_add_u64(o, "length", s->length);
		json_add_u64(o, "offset", s->offset);
		json_add(o, "adopted", json_object_new_boolean(s->kind == HPCVM_SLOT_ADOPTED));
		json_add_u64(o, "page_size", s->page_size);
		json_add(o, "node", s->node == HPCVM_NODE_ANY ? NULL :
				    json_object_new_int(s->node));
		json_add(o, "numa_nodes", json_bits(s->nodes));
		json_add_u64(o, "pages_present", s->pages_present);
		json_add_u64(o, "pages_off_node", s->pages_off_node);
		json_add_u64(o, "mapped_2m", s->mapped_2m);
		json_add_u64(o, "mapped_1g", s->mapped_1g);
		json_add_u64(o, "kvm_bytes", s->kvm_bytes);
		json_add_u64(o, "kvm_small", s->kvm_small);
		json_add(o, "ok", json_object_new_boolean(!s->broken));
		json_object_array_add(a, o);
	}
	return a;
}

static struct json_object *to_json(const struct memory *m)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "ram_bytes", m->v.ram_bytes);
	json_add_u64(o, "page_size", m->page_size);
	json_add_u64(o, "kvm_pages_4k", m->v.kvm_pages_4k);
	json_add_u64(o, "kvm_pages_4k_ram", m->v.kvm_pages_4k_ram);
	json_add_u64(o, "kvm_pages_4k_legacy", m->v.kvm_pages_4k_legacy);
	json_add_u64(o, "kvm_legacy_frames", m->v.kvm_legacy_frames);
	json_add_u64(o, "kvm_pages_2m", m->v.kvm_pages_2m);
	json_add_u64(o, "kvm_pages_1g", m->v.kvm_pages_1g);
	json_add(o, "numa_nodes", json_bits(m->v.nodes));
	json_add_u64(o, "nx_lpage_splits", m->v.nx_lpage_splits);
	json_add(o, "nx_huge_pages", m->nx == NX_UNKNOWN ? NULL :
				     json_object_new_boolean(m->nx == NX_ON));
	json_add(o, "slots", slots_json(m));
	return o;
}

struct json_object *proof_memory(struct proof *p)
{
	struct memory m = { .nx = nx_state(&p->query) };
	char sentence[HPCVM_SENTENCE_MAX];
	struct json_object *o = NULL;
	struct hpcvm_error e;

	if (verify(&m, p->vm, &e)) {
		report_error(&p->report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
	} else {
		add_up(&m);
		p->memory_nodes = m.v.nodes;
		print(&p->report, &m);
		print_slots(&p->report, &m);
		fail(&p->report, &m);
		o = to_json(&m);
	}
	free(m.slots);
	return o;
}
