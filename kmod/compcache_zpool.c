// SPDX-License-Identifier: MIT OR GPL-2.0
/* A pool for zswap: echo compcache > /sys/module/zswap/parameters/zpool */
#define pr_fmt(fmt) "compcache: " fmt

#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/zpool.h>

#include "compcache.h"

/*
 * An object lies in up to two pages that are no neighbours, so what is mapped is a copy, one for each
 * CPU, from map to unmap, with preemption off.
 */
struct mapping {
	u8 *bytes;
	unsigned long handle;
	int size;
	enum zpool_mapmode mode;
};

static DEFINE_PER_CPU(struct mapping, mapping);

static void *pool_create(const char *name, gfp_t gfp
#if COMPCACHE_ZPOOL == 1
			 , const struct zpool_ops *ops, struct zpool *zpool
#endif
)
{
	void *pool = compcache_shim_room(compcache_zpool_bytes());

	if (pool && compcache_zpool_init(pool)) {
		compcache_shim_unroom(pool);
		pool = NULL;
	}
	return pool;
}

static void pool_destroy(void *pool)
{
	compcache_shim_begin_walk(true);
	compcache_zpool_drop(pool);
	compcache_shim_end_walk();
	compcache_shim_unroom(pool);
}

struct request {
	void *pool;
	size_t size;
	u64 handle;
};

static int do_malloc(void *arg)
{
	struct request *request = arg;

	return compcache_zpool_malloc(request->pool, request->size, &request->handle);
}

static int pool_malloc(void *pool, size_t size, gfp_t gfp, unsigned long *handle)
{
	struct request request = { .pool = pool, .size = size };
	int err;

	if (!size || size > PAGE_SIZE)
		return -ENOSPC;
	if (gfpflags_allow_blocking(gfp)) {
		err = compcache_shim_with_pages(do_malloc, &request);
	} else {
		preempt_disable();
		err = do_malloc(&request);
		preempt_enable();
	}
	if (!err)
		*handle = request.handle;
	return err;
}

static void pool_free(void *pool, unsigned long handle)
{
	int err;

	preempt_disable();
	err = compcache_zpool_free(pool, handle);
	preempt_enable();
	WARN_ON_ONCE(err);
}

static void *pool_map(void *pool, unsigned long handle, enum zpool_mapmode mode)
{
	struct mapping *mine;

	preempt_disable();
	mine = this_cpu_ptr(&mapping);
	WARN_ON_ONCE(mine->handle);
	mine->handle = handle;
	mine->mode = mode;
	mine->size = PAGE_SIZE;
	if (mode != ZPOOL_MM_WO) {
		mine->size = compcache_zpool_read(pool, handle, mine->bytes, PAGE_SIZE);
		if (WARN_ON_ONCE(mine->size < 0))
			memset(mine->bytes, 0, PAGE_SIZE);
	}
	return mine->bytes;
}

static void pool_unmap(void *pool, unsigned long handle)
{
	struct mapping *mine = this_cpu_ptr(&mapping);

	WARN_ON_ONCE(mine->handle != handle);
	mine->handle = 0;
	if (mine->mode != ZPOOL_MM_RO && mine->size > 0)
		WARN_ON_ONCE(compcache_zpool_write(pool, handle, mine->bytes, mine->size));
	preempt_enable();
}

#if COMPCACHE_ZPOOL == 1
static u64 pool_total_size(void *pool)
{
	u64 size;

	preempt_disable();
	size = compcache_zpool_total_size(pool);
	preempt_enable();
	return size;
}
#else
static u64 pool_total_pages(void *pool)
{
	u64 size;

	preempt_disable();
	size = compcache_zpool_total_size(pool);
	preempt_enable();
	return size >> PAGE_SHIFT;
}
#endif

static struct zpool_driver driver = {
	.type = "compcache",
	.owner = THIS_MODULE,
	.create = pool_create,
	.destroy = pool_destroy,
	.malloc = pool_malloc,
	.free = pool_free,
	.map = pool_map,
	.unmap = pool_unmap,
#if COMPCACHE_ZPOOL == 1
	.total_size = pool_total_size,
#else
	.total_pages = pool_total_pages,
#endif
};

static void free_mappings(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		free_page((unsigned long)per_cpu(mapping, cpu).bytes);
		per_cpu(mapping, cpu).bytes = NULL;
	}
}

int compcache_zpool_register(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		per_cpu(mapping, cpu).bytes = (u8 *)__get_free_page(GFP_KERNEL);
		if (!per_cpu(mapping, cpu).bytes) {
			free_mappings();
			return -ENOMEM;
		}
	}
	zpool_register_driver(&driver);
	return 0;
}

int compcache_zpool_unregister(void)
{
	int err = zpool_unregister_driver(&driver);

	if (!err)
		free_mappings();
	return err;
}

MODULE_ALIAS("zpool-compcache");
