// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Block devices compcacheN: bios, hot_add and hot_remove, the module. What a page is and where it goes is the
 * business of the crate in rust/.
 */
#define pr_fmt(fmt) "compcache: " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/highmem.h>
#include <linux/idr.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/rwsem.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#include "compcache.h"
#include "compcache_device.h"

#define NAME "compcache"

static unsigned int num_devices = 1;
module_param(num_devices, uint, 0444);
MODULE_PARM_DESC(num_devices, "devices to make when the module is loaded (1), up to 256");
#define DEVICES_MAX 256U

static unsigned int logical_block_size = PAGE_SIZE;
module_param(logical_block_size, uint, 0444);
MODULE_PARM_DESC(logical_block_size, "512 to 4096 (4096); smaller blocks are parts of a page");

/* Time from the first change of a device to the work that packs it: a pass may move every object of a
 * small device, so while pages are overwritten without pause it should not be made all the time (with a
 * tenth of a second it took a fifth of that time). */
#define PACK_DELAY msecs_to_jiffies(500)
/* Of a burst of frees the rest is waited for: that many times, while more than a share goes. */
#define PACK_WAITS 20
#define BURST_SHARE 128

static DEFINE_IDR(devices);
static DEFINE_MUTEX(devices_mutex);
static int major;

/* Packing: by a worker, some time after something changed. */

static void want_packing(struct compcache *device)
{
	if (READ_ONCE(device->pack_queued))
		return;
	WRITE_ONCE(device->pack_queued, true);
	queue_delayed_work(system_unbound_wq, &device->pack, PACK_DELAY);
}

static void pack_work(struct work_struct *work)
{
	struct compcache *device = container_of(to_delayed_work(work), struct compcache, pack);
	struct compcache_stats stats;
	u64 before = device->pack_stored;

	down_read(&device->lock);
	if (!device->cache) {
		WRITE_ONCE(device->pack_queued, false);
		goto out;
	}
	preempt_disable();
	compcache_disk_stats(device->cache, &stats);
	preempt_enable();
	device->pack_stored = stats.orig_data_size;
	if (stats.orig_data_size + before / BURST_SHARE < before &&
	    device->pack_waits < PACK_WAITS) {
		/* What is about to go need not be moved. */
		device->pack_waits++;
		queue_delayed_work(system_unbound_wq, &device->pack, PACK_DELAY / 16);
		goto out;
	}
	device->pack_waits = 0;
	/* Before the work: what changes meanwhile is for the next one. */
	WRITE_ONCE(device->pack_queued, false);
	compcache_shim_begin_walk(false);
	compcache_disk_compact_to_target(device->cache);
	compcache_shim_end_walk();
	WRITE_ONCE(device->packed_at, jiffies);
out:
	up_read(&device->lock);
}

/* Requests. */

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
		want_packing(device);
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
	want_packing(device);
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
	want_packing(device);
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
		want_packing(device);
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

static const struct block_device_operations operations = {
	.owner = THIS_MODULE,
	.open = compcache_open,
	.submit_bio = compcache_submit_bio,
	.swap_slot_free_notify = compcache_swap_slot_free,
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	.rw_page = compcache_rw_page,
#endif
};

/* Dropping what is stored, and keeping others off meanwhile. */

void compcache_drop_cache(struct compcache *device)
{
	cancel_delayed_work_sync(&device->pack);
	down_write(&device->lock);
	if (device->cache) {
		compcache_shim_begin_walk(true);
		compcache_disk_drop(device->cache);
		compcache_shim_end_walk();
		compcache_shim_unroom(device->cache);
		device->cache = NULL;
	}
	device->disksize = 0;
	device->mem_limit = 0;
	device->pack_queued = false;
	device->pack_waits = 0;
	device->pack_stored = 0;
	set_capacity_and_notify(device->disk, 0);
	up_write(&device->lock);
}

int compcache_claim(struct compcache *device)
{
	int err = 0;

	mutex_lock(&device->disk->open_mutex);
	if (disk_openers(device->disk) || device->claimed)
		err = -EBUSY;
	else
		device->claimed = true;
	mutex_unlock(&device->disk->open_mutex);
	return err;
}

void compcache_unclaim(struct compcache *device)
{
	mutex_lock(&device->disk->open_mutex);
	device->claimed = false;
	mutex_unlock(&device->disk->open_mutex);
}

/* Devices come and go; under devices_mutex. */

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
static struct gendisk *make_disk(void)
{
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
	blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, disk->queue);
	blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, disk->queue);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	blk_queue_flag_set(QUEUE_FLAG_SYNCHRONOUS, disk->queue);
#endif
	blk_queue_physical_block_size(disk->queue, PAGE_SIZE);
	blk_queue_logical_block_size(disk->queue, logical_block_size);
	blk_queue_io_min(disk->queue, PAGE_SIZE);
	blk_queue_io_opt(disk->queue, PAGE_SIZE);
	disk->queue->limits.discard_granularity = PAGE_SIZE;
	blk_queue_max_discard_sectors(disk->queue, UINT_MAX);
	blk_queue_max_write_zeroes_sectors(disk->queue, UINT_MAX);
	return disk;
}
#else
static struct gendisk *make_disk(void)
{
	struct queue_limits limits = {
		.logical_block_size = logical_block_size,
		.physical_block_size = PAGE_SIZE,
		.io_min = PAGE_SIZE,
		.io_opt = PAGE_SIZE,
		.discard_granularity = PAGE_SIZE,
		.max_hw_discard_sectors = UINT_MAX,
		.max_write_zeroes_sectors = UINT_MAX,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
		.features = BLK_FEAT_STABLE_WRITES | BLK_FEAT_SYNCHRONOUS,
#endif
	};

	return blk_alloc_disk(&limits, NUMA_NO_NODE);
}
#endif

static int add_device(void)
{
	struct compcache *device = kzalloc(sizeof(*device), GFP_KERNEL);
	int err;

	if (!device)
		return -ENOMEM;
	init_rwsem(&device->lock);
	INIT_DELAYED_WORK(&device->pack, pack_work);
	err = idr_alloc(&devices, device, 0, 1 << MINORBITS, GFP_KERNEL);
	if (err < 0)
		goto free_device;
	device->id = err;
	device->disk = make_disk();
	if (IS_ERR(device->disk)) {
		err = PTR_ERR(device->disk);
		goto free_id;
	}
	device->disk->major = major;
	device->disk->first_minor = device->id;
	device->disk->minors = 1;
	device->disk->flags |= GENHD_FL_NO_PART;
	device->disk->fops = &operations;
	device->disk->private_data = device;
	snprintf(device->disk->disk_name, sizeof(device->disk->disk_name), NAME "%d", device->id);
	set_capacity(device->disk, 0);
	err = device_add_disk(NULL, device->disk, compcache_disk_groups);
	if (err)
		goto put_disk;
	return device->id;

put_disk:
	put_disk(device->disk);
free_id:
	idr_remove(&devices, device->id);
free_device:
	kfree(device);
	return err;
}

/* Nobody opens the device any more. */
static void destroy_device(struct compcache *device)
{
	/* Attributes go with the disk: this waits for who writes one, a reset, say. */
	del_gendisk(device->disk);
	compcache_drop_cache(device);
	put_disk(device->disk);
	idr_remove(&devices, device->id);
	kfree(device);
}

static int remove_device(struct compcache *device)
{
	int err = compcache_claim(device);

	if (err)
		return err;
	sync_blockdev(device->disk->part0);
	/* The claim stays. */
	destroy_device(device);
	return 0;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define CLASS_CONST
#else
#define CLASS_CONST const
#endif

static ssize_t hot_add_show(CLASS_CONST struct class *class, CLASS_CONST struct class_attribute *attr,
			    char *buf)
{
	int id;

	mutex_lock(&devices_mutex);
	id = add_device();
	mutex_unlock(&devices_mutex);
	return id < 0 ? id : sysfs_emit(buf, "%d\n", id);
}

static ssize_t hot_remove_store(CLASS_CONST struct class *class,
				CLASS_CONST struct class_attribute *attr, const char *buf,
				size_t count)
{
	struct compcache *device;
	int id, err = kstrtoint(buf, 10, &id);

	if (err)
		return err;
	if (id < 0)
		return -EINVAL;
	mutex_lock(&devices_mutex);
	device = idr_find(&devices, id);
	err = device ? remove_device(device) : -ENODEV;
	mutex_unlock(&devices_mutex);
	return err ? err : count;
}

/* Reading it makes a device, so not for everybody. */
static struct class_attribute class_attr_hot_add = __ATTR(hot_add, 0400, hot_add_show, NULL);
static CLASS_ATTR_WO(hot_remove);

static struct attribute *control_attrs[] = {
	&class_attr_hot_add.attr,
	&class_attr_hot_remove.attr,
	NULL,
};
ATTRIBUTE_GROUPS(control);

static struct class control = {
	.name = NAME "-control",
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	.owner = THIS_MODULE,
#endif
	.class_groups = control_groups,
};

/* The shrinker: has the worker pack, as it may be called by who holds what packing needs. */

static unsigned long shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct compcache *device;
	struct compcache_stats stats;
	u64 free = 0;
	int id;

	if (!mutex_trylock(&devices_mutex))
		return 0;
	idr_for_each_entry(&devices, device, id) {
		if (!down_read_trylock(&device->lock))
			continue;
		if (device->cache) {
			preempt_disable();
			compcache_disk_stats(device->cache, &stats);
			preempt_enable();
			if (stats.mem_used_total > stats.blocks + stats.metadata)
				free += stats.mem_used_total - stats.blocks - stats.metadata;
		}
		up_read(&device->lock);
	}
	mutex_unlock(&devices_mutex);
	return free >> PAGE_SHIFT;
}

static unsigned long shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct compcache *device;
	int id;

	if (!mutex_trylock(&devices_mutex))
		return SHRINK_STOP;
	idr_for_each_entry(&devices, device, id)
		/* At once, but not again and again. */
		if (READ_ONCE(device->cache) &&
		    time_after(jiffies, READ_ONCE(device->packed_at) + PACK_DELAY / 8)) {
			WRITE_ONCE(device->pack_queued, true);
			mod_delayed_work(system_unbound_wq, &device->pack, 0);
		}
	mutex_unlock(&devices_mutex);
	return SHRINK_STOP;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static struct shrinker the_shrinker = {
	.count_objects = shrink_count,
	.scan_objects = shrink_scan,
	.seeks = DEFAULT_SEEKS,
};
static int add_shrinker(void) { return register_shrinker(&the_shrinker, NAME); }
static void remove_shrinker(void) { unregister_shrinker(&the_shrinker); }
#else
static struct shrinker *the_shrinker;
static int add_shrinker(void)
{
	the_shrinker = shrinker_alloc(0, NAME);
	if (!the_shrinker)
		return -ENOMEM;
	the_shrinker->count_objects = shrink_count;
	the_shrinker->scan_objects = shrink_scan;
	shrinker_register(the_shrinker);
	return 0;
}
static void remove_shrinker(void) { shrinker_free(the_shrinker); }
#endif

/* The module. */

static void free_stable_pages(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		free_page((unsigned long)per_cpu(stable_page, cpu));
		per_cpu(stable_page, cpu) = NULL;
	}
}

static int make_stable_pages(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		per_cpu(stable_page, cpu) = (u8 *)__get_free_page(GFP_KERNEL);
		if (!per_cpu(stable_page, cpu))
			return -ENOMEM;
	}
	return 0;
}

static void remove_devices(void)
{
	struct compcache *device;
	int id;

	mutex_lock(&devices_mutex);
	/* Who has a device open holds the module; who resets one claims it, and holds nothing. So there is
	 * nobody to claim it from, and a reset is waited for. */
	idr_for_each_entry(&devices, device, id)
		destroy_device(device);
	mutex_unlock(&devices_mutex);
	idr_destroy(&devices);
}

static int __init compcache_init(void)
{
	unsigned int number;
	int err;

	if (logical_block_size < SECTOR_SIZE || logical_block_size > PAGE_SIZE ||
	    !is_power_of_2(logical_block_size)) {
		pr_err("logical_block_size=%u; expected 512, 1024, 2048 or 4096\n", logical_block_size);
		return -EINVAL;
	}
	if (num_devices > DEVICES_MAX) {
		pr_err("num_devices=%u; expected at most %u\n", num_devices, DEVICES_MAX);
		return -EINVAL;
	}
	err = make_stable_pages();
	if (err)
		goto free_pages;
	err = compcache_shim_init();
	if (err)
		goto free_shim;
	major = register_blkdev(0, NAME);
	if (major < 0) {
		err = major;
		goto free_shim;
	}
	err = add_shrinker();
	if (err)
		goto free_blkdev;
	err = compcache_zpool_register();
	if (err)
		goto free_shrinker;
	err = class_register(&control);
	if (err)
		goto free_zpool;
	/* Last: a device is opened as soon as it is there, and then the module has to stay. */
	for (number = 0; number < num_devices; number++) {
		mutex_lock(&devices_mutex);
		err = add_device();
		mutex_unlock(&devices_mutex);
		if (err < 0) {
			pr_warn("made %u of %u devices: error %d; more by hot_add\n", number,
				num_devices, err);
			break;
		}
	}
	return 0;

free_zpool:
	compcache_zpool_unregister();
free_shrinker:
	remove_shrinker();
free_blkdev:
	unregister_blkdev(major, NAME);
free_shim:
	compcache_shim_exit();
free_pages:
	free_stable_pages();
	return err;
}

static void __exit compcache_exit(void)
{
	/* Whatever uses devices or pools holds the module. */
	WARN_ON(compcache_zpool_unregister());
	class_unregister(&control);
	remove_shrinker();
	remove_devices();
	unregister_blkdev(major, NAME);
	compcache_shim_exit();
	free_stable_pages();
}

module_init(compcache_init);
module_exit(compcache_exit);

MODULE_LICENSE("Dual MIT/GPL");
MODULE_AUTHOR("The compcache authors");
MODULE_DESCRIPTION("Compressed pages in memory, as block devices and behind zswap");
MODULE_VERSION("0.1.0");
