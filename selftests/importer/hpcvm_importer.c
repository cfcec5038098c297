// SPDX-License-Identifier: GPL-2.0-only
/*
 * An importer of dma-bufs, as the driver of an HCA is one, that tells what it has got.
 * For the tests of pins (pin.c); no InfiniBand card is in an emulated node.
 *
 * Each open /dev/hpcvm-importer imports one. read() gives its bytes.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "importer.h"

#ifdef HAVE_IMPORT_NS_TOKEN
MODULE_IMPORT_NS(DMA_BUF);
#else
MODULE_IMPORT_NS("DMA_BUF");
#endif

/* Older kernels, as they are configured, hold what is mapped. */
#ifdef HAVE_DMA_BUF_INVALIDATE_MAPPINGS
#define CAN_BE_TOLD true
#else
#define CAN_BE_TOLD IS_ENABLED(CONFIG_DMABUF_MOVE_NOTIFY)
#endif

struct import {
	struct mutex lock;	/* of what follows, but for told */
	struct dma_buf *buf;
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	bool pinned;
	atomic_t told;
};

static struct platform_device *device;

static void told(struct dma_buf_attachment *attachment)
{
	struct import *import = attachment->importer_priv;

	atomic_inc(&import->told);
}

static const struct dma_buf_attach_ops lets_go = {
#ifdef HAVE_DMA_BUF_INVALIDATE_MAPPINGS
	.invalidate_mappings = told,
#else
	.move_notify = told,
#endif
};

static void unmap(struct import *import)
{
	if (import->table)
		dma_buf_unmap_attachment_unlocked(import->attachment, import->table,
						  DMA_BIDIRECTIONAL);
	import->table = NULL;
}

static long map(struct import *import)
{
	struct sg_table *table;

	if (!import->attachment)
		return -ENOTCONN;
	unmap(import);
	table = dma_buf_map_attachment_unlocked(import->attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(table))
		return PTR_ERR(table);
	import->table = table;
	return table->orig_nents;
}

/* What cannot let go says so, as drivers do: it pins. */
static int hold(struct import *import)
{
	int err;

	dma_resv_lock(import->buf->resv, NULL);
	err = dma_buf_pin(import->attachment);
	dma_resv_unlock(import->buf->resv);
	import->pinned = !err;
	return err;
}

static void let_go(struct import *import)
{
	unmap(import);
	if (import->pinned) {
		dma_resv_lock(import->buf->resv, NULL);
		dma_buf_unpin(import->attachment);
		dma_resv_unlock(import->buf->resv);
	}
	if (import->attachment)
		dma_buf_detach(import->buf, import->attachment);
	if (import->buf)
		dma_buf_put(import->buf);
	import->pinned = false;
	import->attachment = NULL;
	import->buf = NULL;
}

static long take(struct import *import, int fd, bool dynamic)
{
	struct dma_buf *buf = dma_buf_get(fd);
	struct dma_buf_attachment *attachment;
	long err;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	attachment = dma_buf_dynamic_attach(buf, &device->dev, &lets_go, import);
	if (IS_ERR(attachment)) {
		dma_buf_put(buf);
		return PTR_ERR(attachment);
	}
	import->buf = buf;
	import->attachment = attachment;
	err = dynamic ? 0 : hold(import);
	if (!err)
		err = map(import);
	if (err < 0)
		let_go(import);
	return err;
}

static long longest(const struct import *import)
{
	struct scatterlist *sg;
	long pages = 0;
	int i;

	if (!import->table)
		return -ENOTCONN;
	for_each_sgtable_sg(import->table, sg, i)
		pages = max_t(long, pages, sg->length >> PAGE_SHIFT);
	return pages;
}

static long importer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct import *import = file->private_data;
	long ret = -ENOTTY;

	mutex_lock(&import->lock);
	switch (cmd) {
	case IMPORTER_TAKE:
	case IMPORTER_HOLD:
		ret = import->buf ? -EISCONN : take(import, arg, cmd == IMPORTER_TAKE);
		break;
	case IMPORTER_MAP:
		ret = map(import);
		break;
	case IMPORTER_TOLD:
		ret = atomic_read(&import->told);
		break;
	case IMPORTER_LONGEST:
		ret = longest(import);
		break;
	case IMPORTER_CAN_BE_TOLD:
		ret = CAN_BE_TOLD;
		break;
	}
	mutex_unlock(&import->lock);
	return ret;
}

static ssize_t importer_read(struct file *file, char __user *to, size_t length, loff_t *at)
{
	struct import *import = file->private_data;
	size_t done = 0, n;
	void *page;

	mutex_lock(&import->lock);
	while (import->table && done < length) {
		page = kmalloc(PAGE_SIZE, GFP_KERNEL);
		n = page ? sg_pcopy_to_buffer(import->table->sgl, import->table->orig_nents, page,
					      min_t(size_t, PAGE_SIZE, length - done), *at) : 0;
		if (!n || copy_to_user(to + done, page, n)) {
			kfree(page);
			break;
		}
		kfree(page);
		done += n;
		*at += n;
	}
	mutex_unlock(&import->lock);
	return done;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct import *import = kzalloc(sizeof(*import), GFP_KERNEL);

	if (!import)
		return -ENOMEM;
	mutex_init(&import->lock);
	file->private_data = import;
	return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct import *import = file->private_data;

	let_go(import);
	kfree(import);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.release = importer_release,
	.read = importer_read,
	.llseek = default_llseek,
	.unlocked_ioctl = importer_ioctl,
};

static struct miscdevice importer = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hpcvm-importer",
	.fops = &importer_fops,
};

static int __init importer_init(void)
{
	int err;

	device = platform_device_register_simple("hpcvm-importer", -1, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	err = dma_coerce_mask_and_coherent(&device->dev, DMA_BIT_MASK(64)) ?:
	      misc_register(&importer);
	if (err)
		platform_device_unregister(device);
	return err;
}

static void __exit importer_exit(void)
{
	misc_deregister(&importer);
	platform_device_unregister(device);
}

module_init(importer_init);
module_exit(importer_exit);

MODULE_DESCRIPTION("An importer of dma-bufs, for the tests of hpcvm's pins");
MODULE_LICENSE("GPL");
