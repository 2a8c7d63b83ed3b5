// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Block devices compcacheN: hot_add and hot_remove, packing, the module. Requests are in compcache_io.c; what a page
 * is and where it goes is the business of the crate in rust/.
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

void compcache_want_packing(struct compcache *device)
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
	device->disk->fops = &compcache_operations;
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
	err = compcache_make_stable_pages();
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
	compcache_free_stable_pages();
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
	compcache_free_stable_pages();
}

module_init(compcache_init);
module_exit(compcache_exit);

MODULE_LICENSE("Dual MIT/GPL");
MODULE_AUTHOR("The compcache authors");
MODULE_DESCRIPTION("Compressed pages in memory, as block devices and behind zswap");
MODULE_VERSION("0.1.0");
