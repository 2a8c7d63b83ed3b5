// SPDX-License-Identifier: MIT OR GPL-2.0
/* The attributes in /sys/block/compcacheN, by zram's names. */
#define pr_fmt(fmt) "compcache: " fmt

#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "compcache.h"
#include "compcache_device.h"

static struct compcache *of_dev(struct device *dev)
{
	return dev_to_disk(dev)->private_data;
}

static ssize_t disksize_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(of_dev(dev)->disksize));
}

static ssize_t disksize_store(struct device *dev, struct device_attribute *attr, const char *buf,
			      size_t len)
{
	struct compcache *device = of_dev(dev);
	u64 bytes = memparse(buf, NULL);
	void *cache;
	int err;

	if (!bytes || bytes > U64_MAX - PAGE_SIZE)
		return -EINVAL;
	bytes = PAGE_ALIGN(bytes);
	down_write(&device->lock);
	if (device->cache) {
		pr_info("%s has a size already: write 1 to reset first\n", device->disk->disk_name);
		err = -EBUSY;
		goto out;
	}
	cache = compcache_shim_room(compcache_disk_bytes());
	err = -ENOMEM;
	if (!cache)
		goto out;
	err = compcache_disk_init(cache, bytes >> PAGE_SHIFT, device->mem_limit);
	if (err) {
		compcache_shim_unroom(cache);
		goto out;
	}
	device->cache = cache;
	device->disksize = bytes;
	set_capacity_and_notify(device->disk, bytes >> SECTOR_SHIFT);
out:
	up_write(&device->lock);
	return err ? err : len;
}

static ssize_t initstate_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(of_dev(dev)->cache) != NULL);
}

static ssize_t reset_store(struct device *dev, struct device_attribute *attr, const char *buf,
			   size_t len)
{
	struct compcache *device = of_dev(dev);
	u16 value;
	int err = kstrtou16(buf, 10, &value);

	if (err)
		return err;
	if (!value)
		return -EINVAL;
	err = compcache_claim(device);
	if (err)
		return err;
	/* What file systems left in the page cache of the device must not be written later. */
	sync_blockdev(device->disk->part0);
	compcache_drop_cache(device);
	compcache_unclaim(device);
	return len;
}

static ssize_t mem_limit_store(struct device *dev, struct device_attribute *attr, const char *buf,
			       size_t len)
{
	struct compcache *device = of_dev(dev);
	char *end;
	u64 bytes = memparse(buf, &end);

	if (end == buf)
		return -EINVAL;
	down_write(&device->lock);
	device->mem_limit = bytes;
	if (device->cache) {
		preempt_disable();
		compcache_disk_set_mem_limit(device->cache, bytes);
		preempt_enable();
	}
	up_write(&device->lock);
	return len;
}

static ssize_t mem_used_max_store(struct device *dev, struct device_attribute *attr,
				  const char *buf, size_t len)
{
	struct compcache *device = of_dev(dev);
	unsigned long value;
	int err = kstrtoul(buf, 10, &value);

	if (err || value)
		return -EINVAL;
	down_read(&device->lock);
	if (device->cache) {
		preempt_disable();
		compcache_disk_reset_mem_used_max(device->cache);
		preempt_enable();
	}
	up_read(&device->lock);
	return len;
}

/* A walk over all that a device stores, as long as it takes: others get the CPU between its steps. For
 * `compact`, and whatever attribute has to look at every page. */
static int walk_cache(struct compcache *device, u64 (*walk)(void *cache), u64 *result)
{
	int err = -EINVAL;

	down_read(&device->lock);
	if (device->cache) {
		compcache_shim_begin_walk(false);
		*result = walk(device->cache);
		compcache_shim_end_walk();
		err = 0;
	}
	up_read(&device->lock);
	return err;
}

static ssize_t compact_store(struct device *dev, struct device_attribute *attr, const char *buf,
			     size_t len)
{
	u64 pages;
	int err = walk_cache(of_dev(dev), compcache_disk_compact, &pages);

	return err ? err : len;
}

/* As zram's without CONFIG_ZRAM_TRACK_ENTRY_ACTIME: `all`, and no ages. */
static ssize_t idle_store(struct device *dev, struct device_attribute *attr, const char *buf,
			  size_t len)
{
	u64 done;
	int err;

	if (!sysfs_streq(buf, "all"))
		return -EINVAL;
	err = walk_cache(of_dev(dev), compcache_disk_mark_idle, &done);
	return err ? err : len;
}

/* Pages that were not used since then. zram tells that in debugfs, page by page. */
static ssize_t idle_pages_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	u64 pages = 0;

	walk_cache(of_dev(dev), compcache_disk_idle_pages, &pages);
	return sysfs_emit(buf, "%llu\n", pages);
}

static ssize_t comp_algorithm_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "[lz4]\n");
}

static ssize_t comp_algorithm_store(struct device *dev, struct device_attribute *attr,
				    const char *buf, size_t len)
{
	if (!sysfs_streq(buf, "lz4"))
		return -EINVAL;
	return READ_ONCE(of_dev(dev)->cache) ? -EBUSY : len;
}

static ssize_t max_comp_streams_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", num_online_cpus());
}

/* As in zram, for scripts: there is a stream for each CPU. */
static ssize_t max_comp_streams_store(struct device *dev, struct device_attribute *attr,
				      const char *buf, size_t len)
{
	return len;
}

static void stats_of(struct compcache *device, struct compcache_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	down_read(&device->lock);
	if (device->cache) {
		preempt_disable();
		compcache_disk_stats(device->cache, stats);
		preempt_enable();
	}
	up_read(&device->lock);
}

static ssize_t mm_stat_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct compcache_stats stats;

	stats_of(of_dev(dev), &stats);
	return sysfs_emit(buf, "%8llu %8llu %8llu %8llu %8llu %8llu %8llu %8llu %8llu\n",
			  stats.orig_data_size, stats.compr_data_size, stats.mem_used_total,
			  stats.mem_limit, stats.mem_used_max, stats.same_pages,
			  stats.pages_compacted, stats.huge_pages, stats.huge_pages_since);
}

static ssize_t io_stat_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct compcache_stats stats;

	stats_of(of_dev(dev), &stats);
	return sysfs_emit(buf, "%8llu %8llu %8llu %8llu\n", stats.failed_reads,
			  stats.failed_writes, stats.invalid_io, stats.notify_free);
}

/* As in zram: a version, then what is of use when something is looked for. */
static ssize_t debug_stat_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct compcache_stats stats;

	stats_of(of_dev(dev), &stats);
	return sysfs_emit(buf, "version: 1\n%8llu %8llu %8llu %8llu\n", stats.reads, stats.writes,
			  stats.blocks, stats.metadata);
}

static DEVICE_ATTR_RW(disksize);
static DEVICE_ATTR_RO(initstate);
static DEVICE_ATTR_WO(reset);
static DEVICE_ATTR_WO(mem_limit);
static DEVICE_ATTR_WO(mem_used_max);
static DEVICE_ATTR_WO(compact);
static DEVICE_ATTR_WO(idle);
static DEVICE_ATTR_RO(idle_pages);
static DEVICE_ATTR_RW(comp_algorithm);
static DEVICE_ATTR_RW(max_comp_streams);
static DEVICE_ATTR_RO(mm_stat);
static DEVICE_ATTR_RO(io_stat);
static DEVICE_ATTR_RO(debug_stat);

static struct attribute *disk_attrs[] = {
	&dev_attr_disksize.attr,
	&dev_attr_initstate.attr,
	&dev_attr_reset.attr,
	&dev_attr_mem_limit.attr,
	&dev_attr_mem_used_max.attr,
	&dev_attr_compact.attr,
	&dev_attr_idle.attr,
	&dev_attr_idle_pages.attr,
	&dev_attr_comp_algorithm.attr,
	&dev_attr_max_comp_streams.attr,
	&dev_attr_mm_stat.attr,
	&dev_attr_io_stat.attr,
	&dev_attr_debug_stat.attr,
	NULL,
};
static const struct attribute_group disk_group = {
	.attrs = disk_attrs,
};

const struct attribute_group *compcache_disk_groups[] = {
	&disk_group,
	NULL,
};
