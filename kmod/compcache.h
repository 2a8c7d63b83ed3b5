/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Between the C shim and the Rust crate (rust/src). */
#ifndef COMPCACHE_H
#define COMPCACHE_H

#include <linux/types.h>

/* rust/src/disk.rs: Stats */
struct compcache_stats {
	u64 orig_data_size;
	u64 compr_data_size;
	u64 mem_used_total;
	u64 mem_limit;
	u64 mem_used_max;
	u64 same_pages;
	u64 pages_compacted;
	u64 huge_pages;
	u64 huge_pages_since;
	u64 failed_reads;
	u64 failed_writes;
	u64 invalid_io;
	u64 notify_free;
	u64 reads;
	u64 writes;
	u64 blocks;
	u64 metadata;
};

/*
 * The crate. Errors are negative errno. Preemption is off in every call but those that may sleep,
 * which say so.
 */
void compcache_pages_init(unsigned long direct_map);
size_t compcache_bank_bytes(void);
int compcache_bank_init(void *room, size_t count);		/* sleeps */

size_t compcache_disk_bytes(void);
int compcache_disk_init(void *room, u64 pages, u64 mem_limit);	/* sleeps */
void compcache_disk_drop(void *disk);				/* sleeps */
int compcache_disk_put(void *disk, u64 index, const void *page);
int compcache_disk_get(void *disk, u64 index, void *page);
int compcache_disk_write(void *disk, u64 index, size_t offset, const void *bytes, size_t len);
int compcache_disk_read(void *disk, u64 index, size_t offset, void *out, size_t len);
int compcache_disk_discard(void *disk, u64 index);
u64 compcache_disk_compact(void *disk);				/* sleeps */
void compcache_disk_compact_to_target(void *disk);		/* sleeps */
u64 compcache_disk_mark_idle(void *disk);			/* sleeps */
u64 compcache_disk_idle_pages(void *disk);			/* sleeps */
void compcache_disk_set_mem_limit(void *disk, u64 bytes);
void compcache_disk_reset_mem_used_max(void *disk);
void compcache_disk_stats(void *disk, struct compcache_stats *stats);

size_t compcache_zpool_bytes(void);
int compcache_zpool_init(void *room);				/* sleeps */
void compcache_zpool_drop(void *pool);				/* sleeps */
int compcache_zpool_malloc(void *pool, size_t size, u64 *handle);
int compcache_zpool_free(void *pool, u64 handle);
int compcache_zpool_read(void *pool, u64 handle, void *out, size_t room);
int compcache_zpool_write(void *pool, u64 handle, const void *bytes, size_t len);
u64 compcache_zpool_total_size(void *pool);

/* What the crate calls: compcache_shim.c. */
u64 compcache_shim_page_take(void);
void compcache_shim_page_give(u64 pfn);
void compcache_shim_lock(u32 *lock);
bool compcache_shim_trylock(u32 *lock);
void compcache_shim_unlock(u32 *lock);
void compcache_shim_bug(const char *file, u32 len, u32 line);

/* Between the shim's files. */

/* Pages that one operation may need where the kernel had none without sleeping: two for the
 * object, two leaves and two directories, and one for whatever comes between. */
#define COMPCACHE_RESERVE 8

/*
 * An operation that stores something: done with preemption off; where pages were missing, some are
 * asked for with patience (GFP_NOIO: swapping out must not wait for swapping out) and it is done
 * again.
 */
typedef int (*compcache_op_t)(void *arg);
int compcache_shim_with_pages(compcache_op_t op, void *arg);

/* A long walk over a device or pool, from a context that may sleep: others get the CPU between
 * its steps. One at a time. */
void compcache_shim_begin_walk(bool drops);
void compcache_shim_end_walk(void);

/* vzalloc, aligned as the crate wants it. */
void *compcache_shim_room(size_t bytes);
void compcache_shim_unroom(void *room);

long compcache_shim_pages(void);
int compcache_shim_init(void);
void compcache_shim_exit(void);

#ifdef COMPCACHE_ZPOOL
int compcache_zpool_register(void);
int compcache_zpool_unregister(void);
#else
static inline int compcache_zpool_register(void) { return 0; }
static inline int compcache_zpool_unregister(void) { return 0; }
#endif

#endif
