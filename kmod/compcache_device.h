/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* A block device, between the files that make it: compcache_main.c, compcache_io.c, compcache_attrs.c. */
#ifndef COMPCACHE_DEVICE_H
#define COMPCACHE_DEVICE_H

#include <linux/blkdev.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct compcache {
	int id;
	struct gendisk *disk;
	/* Taken for writing by who makes or drops the cache. Requests do not take it: there are
	 * none without an opener, and while there is one the cache stays. */
	struct rw_semaphore lock;
	void *cache;
	u64 disksize;
	u64 mem_limit;
	/* Nobody may open it any more; under disk->open_mutex. */
	bool claimed;
	struct delayed_work pack;
	bool pack_queued;
	/* When packing ended last, in jiffies. */
	unsigned long packed_at;
	unsigned int pack_waits;
	u64 pack_stored;
};

/* Drops what is stored: the device has no size then. Sleeps. */
void compcache_drop_cache(struct compcache *device);

/* Nobody else opens the device until it is let go; refused while somebody has it open. */
int compcache_claim(struct compcache *device);
void compcache_unclaim(struct compcache *device);

/* Something changed: the worker packs some time after it. */
void compcache_want_packing(struct compcache *device);

/* A page for each CPU, for requests whose pages may change; to be freed also if they could not all be had. */
int compcache_make_stable_pages(void);
void compcache_free_stable_pages(void);

extern const struct block_device_operations compcache_operations;
extern const struct attribute_group *compcache_disk_groups[];

#endif
