// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Requests to a block device: bios, pages of swap, and parts of pages.
 */
#define pr_fmt(fmt) "compcache: " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/percpu.h>
#include <linux/string.h>
#include <linux/version.h>

#include "compcache.h"
#include "compcache_device.h"

struct part {
	void *cache;
	u64 index;
	unsigned int offset;
	unsigned int len;
	void *bytes;
};

/* The page as it is at one moment: the owner of a page that is written by anything but swap may
 * change it meanwhile, and the crate may not be shown bytes that change. */
static DEFINE_PER_CPU(u8 *, stable_page);

static int write_swapped(void *arg)
{
	struct part *part = arg;

	return compcache_disk_put(part->cache, part->index, part->bytes);
}

static int write_part(void *arg)
{
	struct part *part = arg;
	u8 *stable = *this_cpu_ptr(&stable_page);

	memcpy(stable, part->bytes, part->len);
	if (part->len == PAGE_SIZE)
		return compcache_disk_put(part->cache, part->index, stable);
	return compcache_disk_write(part->cache, part->index, part->offset, stable, part->len);
}

static int read_part(struct part *part)
{
	int err;

	preempt_disable();
	if (part->len == PAGE_SIZE)
		err = compcache_disk_get(part->cache, part->index, part->bytes);
	else
		err = compcache_disk_read(part->cache, part->index, part->offset, part->bytes, part->len);
	preempt_enable();
	return min(err, 0);
}

static blk_status_t status_of(int err)
{
	switch (err) {
	case 0:
		return BLK_STS_OK;
	case -ENOSPC:
		return BLK_STS_NOSPC;
	case -ENOMEM:
		return BLK_STS_RESOURCE;
	default:
		return BLK_STS_IOERR;
	}
}

/* Within one page of memory, anywhere on the device. */
static int transfer(struct compcache *device, loff_t pos, void *bytes, unsigned int len, bool write,
		    compcache_op_t whole)
{
	int err = 0;

	while (len && !err) {
		struct part part = {
			.cache = device->cache,
			.index = pos >> PAGE_SHIFT,
			.offset = offset_in_page(pos),
			.len = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(pos)),
			.bytes = bytes,
		};

		if (!write)
			err = read_part(&part);
		else
			err = compcache_shim_with_pages(part.len == PAGE_SIZE ? whole : write_part,
							&part);
		pos += part.len;
		bytes += part.len;
		len -= part.len;
	}
	return err;
}

static int transfer_bio(struct compcache *device, struct bio *bio)
{
	bool write = op_is_write(bio_op(bio));
	compcache_op_t whole = bio->bi_opf & REQ_SWAP ? write_swapped : write_part;
	loff_t pos = (loff_t)bio->bi_iter.bi_sector << SECTOR_SHIFT;
	struct bvec_iter iter;
	struct bio_vec bv;
	int err = 0;

	bio_for_each_segment(bv, bio, iter) {
		void *bytes = bvec_kmap_local(&bv);

		err = transfer(device, pos, bytes, bv.bv_len, write, whole);
		kunmap_local(bytes);
		if (err)
			break;
		if (!write)
			flush_dcache_page(bv.bv_page);
		pos += bv.bv_len;
		cond_resched();
	}
	if (write)
		compcache_want_packing(device);
	return err;
}

static int forget(struct compcache *device, u64 index)
{
	int err;

	preempt_disable();
	err = compcache_disk_discard(device->cache, index);
	preempt_enable();
	return min(err, 0);
}

/* What covers a page only in part is left by a discard, and written by write zeroes. */
static int forget_bio(struct compcache *device, struct bio *bio)
{
	bool zeroes = bio_op(bio) == REQ_OP_WRITE_ZEROES;
	loff_t pos = (loff_t)bio->bi_iter.bi_sector << SECTOR_SHIFT;
	loff_t end = pos + bio->bi_iter.bi_size;
	int err = 0;

	while (pos < end && !err) {
		unsigned int len = min_t(loff_t, end - pos, PAGE_SIZE - offset_in_page(pos));

		if (len == PAGE_SIZE)
			err = forget(device, pos >> PAGE_SHIFT);
		else if (zeroes)
			err = transfer(device, pos, page_address(ZERO_PAGE(0)), len, true, write_part);
		pos += len;
		cond_resched();
	}
	compcache_want_packing(device);
	return err;
}

static void compcache_submit_bio(struct bio *bio)
{
	struct compcache *device = bio->bi_bdev->bd_disk->private_data;
	unsigned long began;
	int err;

	if (unlikely(!device->cache)) {
		bio_io_error(bio);
		return;
	}
	switch (bio_op(bio)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		began = bio_start_io_acct(bio);
		err = transfer_bio(device, bio);
		bio->bi_status = status_of(err);
		bio_end_io_acct(bio, began);
		break;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		bio->bi_status = status_of(forget_bio(device, bio));
		break;
	default:
		bio->bi_status = BLK_STS_NOTSUPP;
	}
	bio_endio(bio);
}

/* Called with spin locks of the swap code held. */
static void compcache_swap_slot_free(struct block_device *bdev, unsigned long index)
{
	struct compcache *device = bdev->bd_disk->private_data;

	forget(device, index);
	compcache_want_packing(device);
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
/* A page of swap without a bio; that this exists also tells the swap code not to read ahead. */
static int compcache_rw_page(struct block_device *bdev, sector_t sector, struct page *page,
			     enum req_op op)
{
	struct compcache *device = bdev->bd_disk->private_data;
	bool write = op_is_write(op);
	unsigned long began;
	void *bytes;
	int err;

	if (PageTransHuge(page))
		return -EOPNOTSUPP;
	if (unlikely(!device->cache) || sector + PAGE_SECTORS > get_capacity(bdev->bd_disk))
		return -EINVAL;
	began = bdev_start_io_acct(bdev->bd_disk->part0, PAGE_SECTORS, op, jiffies);
	bytes = kmap_local_page(page);
	err = transfer(device, (loff_t)sector << SECTOR_SHIFT, bytes, PAGE_SIZE, write,
		       PageSwapCache(page) ? write_swapped : write_part);
	kunmap_local(bytes);
	bdev_end_io_acct(bdev->bd_disk->part0, op, began);
	if (write)
		compcache_want_packing(device);
	/* Who called tries again with a bio if this failed. */
	if (!err)
		page_endio(page, write, 0);
	return err;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
static int compcache_open(struct block_device *bdev, fmode_t mode)
{
	struct compcache *device = bdev->bd_disk->private_data;
#else
static int compcache_open(struct gendisk *disk, blk_mode_t mode)
{
	struct compcache *device = disk->private_data;
#endif
	return device->claimed ? -EBUSY : 0;
}

const struct block_device_operations compcache_operations = {
	.owner = THIS_MODULE,
	.open = compcache_open,
	.submit_bio = compcache_submit_bio,
	.swap_slot_free_notify = compcache_swap_slot_free,
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	.rw_page = compcache_rw_page,
#endif
};

void compcache_free_stable_pages(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		free_page((unsigned long)per_cpu(stable_page, cpu));
		per_cpu(stable_page, cpu) = NULL;
	}
}

int compcache_make_stable_pages(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		per_cpu(stable_page, cpu) = (u8 *)__get_free_page(GFP_KERNEL);
		if (!per_cpu(stable_page, cpu))
			return -ENOMEM;
	}
	return 0;
}
