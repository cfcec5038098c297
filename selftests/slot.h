/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of what is tested with a slot or before there is one: a KVM VM
 * in hpcvm's charge, hugepages, where they are mapped, and a pool that is
 * whole again when the test is over. No slot yet, nor a memslot of KVM's.
 */
#ifndef SLOT_H
#define SLOT_H

#include <linux/mempolicy.h>
#include "selftest.h"

#define PAGES 16
#define RAM (PAGES * SZ_2M)

FIXTURE(slot)
{
	int dev;
	int kvm;
	int vm;
	int mem;
	char *ram;
	long free;
};

FIXTURE_SETUP(slot)
{
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	ASSERT_LE(96, pool_set(SZ_2M, HPCVM_NODE_ANY, 96));
	self->free = pool_free(SZ_2M);
	self->kvm = new_kvm();
	self->vm = new_vm(self->dev, self->kvm);
	ASSERT_LE(0, self->vm);
	self->mem = new_mem(self->dev, RAM, SZ_2M);
	ASSERT_LE(0, self->mem);
	self->ram = map_shared(self->mem, RAM);
	ASSERT_NE(MAP_FAILED, self->ram);
}

FIXTURE_TEARDOWN(slot)
{
	munmap(self->ram, RAM);
	close(self->mem);
	close(self->vm);
	close(self->kvm);
	close(self->dev);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

#endif
