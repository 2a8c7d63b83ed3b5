// SPDX-License-Identifier: MIT OR GPL-2.0
/* What the Rust crate needs of the kernel: pages, locks, a way to say that something is wrong. */
#define pr_fmt(fmt) "compcache: " fmt

#include <linux/bug.h>
#include <linux/cpumask.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>

#include "compcache.h"

#ifdef CONFIG_PREEMPT_RT
#error "compcache stores pages with preemption off, where a PREEMPT_RT kernel gives none: build for a kernel without -rt"
#endif

/* rust/src/pages.rs */
static_assert(PAGE_SIZE == 4096);

/* For tests: every so many page allocations one fails; 0 for none. The allocator has to stay as it
 * was, and so do the pages stored. */
static uint fail_page_every;
module_param(fail_page_every, uint, 0600);
MODULE_PARM_DESC(fail_page_every, "for tests: of so many page allocations one fails");

static atomic_t fail_count = ATOMIC_INIT(0);

static atomic_long_t pages_taken = ATOMIC_LONG_INIT(0);
static int pages_taken_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&pages_taken));
}
static const struct kernel_param_ops pages_taken_ops = { .get = pages_taken_get };
module_param_cb(pages_taken, &pages_taken_ops, NULL, 0444);
MODULE_PARM_DESC(pages_taken, "pages taken from the kernel now");

static atomic_long_t failures = ATOMIC_LONG_INIT(0);
static int failures_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&failures));
}
static const struct kernel_param_ops failures_ops = { .get = failures_get };
module_param_cb(failed_pages, &failures_ops, NULL, 0444);
MODULE_PARM_DESC(failed_pages, "page allocations that failed, those of fail_page_every among them");

struct reserve {
	unsigned int count;
	struct page *pages[COMPCACHE_RESERVE];
};

/* Of the operation that runs on this CPU. */
static DEFINE_PER_CPU(struct reserve, reserve);

static bool must_fail(void)
{
	unsigned int every = READ_ONCE(fail_page_every);

	return unlikely(every) && (unsigned int)atomic_inc_return(&fail_count) % every == 0;
}

/* Called with preemption off: __GFP_DIRECT_RECLAIM would sleep. */
u64 compcache_shim_page_take(void)
{
	struct page *page = NULL;
	struct reserve *mine;

	if (!must_fail())
		page = alloc_page(GFP_NOWAIT | __GFP_NOWARN);
	if (unlikely(!page)) {
		mine = this_cpu_ptr(&reserve);
		if (!mine->count) {
			atomic_long_inc(&failures);
			return 0;
		}
		page = mine->pages[--mine->count];
	}
	atomic_long_inc(&pages_taken);
	return page_to_pfn(page);
}

/* A walk that drops everything holds no lock, and may be long. */
static struct task_struct *walker;
static bool walker_drops;
static unsigned int walker_steps;
static DEFINE_MUTEX(walk_mutex);

void compcache_shim_page_give(u64 pfn)
{
	__free_page(pfn_to_page(pfn));
	atomic_long_dec(&pages_taken);
	if (unlikely(READ_ONCE(walker) == current) && walker_drops && !(++walker_steps % 1024))
		cond_resched();
}

/*
 * Locks: rust/src/lock.rs has four bytes for one, zero when it is free. That is a spinlock_t. In a kernel
 * that checks locks it is bigger, so there it is the lock inside, and lockdep is told of all as of one: an
 * arena's lock is never taken under another one's.
 */
#if defined(CONFIG_DEBUG_SPINLOCK) || defined(CONFIG_DEBUG_LOCK_ALLOC)
static_assert(sizeof(arch_spinlock_t) == sizeof(u32));

#ifdef CONFIG_DEBUG_LOCK_ALLOC
static struct lockdep_map arena_map = {
	.name = "compcache_arena",
	.key = (void *)&arena_map,
	.wait_type_inner = LD_WAIT_CONFIG,
};
#endif

static inline void arena_lock(u32 *lock)
{
	preempt_disable();
	spin_acquire(&arena_map, 0, 0, _RET_IP_);
	arch_spin_lock((arch_spinlock_t *)lock);
}

static inline bool arena_trylock(u32 *lock)
{
	preempt_disable();
	if (!arch_spin_trylock((arch_spinlock_t *)lock)) {
		preempt_enable();
		return false;
	}
	spin_acquire(&arena_map, 0, 1, _RET_IP_);
	return true;
}

static inline void arena_unlock(u32 *lock)
{
	spin_release(&arena_map, _RET_IP_);
	arch_spin_unlock((arch_spinlock_t *)lock);
	preempt_enable();
}
#else
static_assert(sizeof(spinlock_t) == sizeof(u32));

static inline void arena_lock(u32 *lock)
{
	spin_lock((spinlock_t *)lock);
}

static inline bool arena_trylock(u32 *lock)
{
	return spin_trylock((spinlock_t *)lock);
}

static inline void arena_unlock(u32 *lock)
{
	spin_unlock((spinlock_t *)lock);
}
#endif

/* May be called with preemption off, or between the steps of a walk. */
void compcache_shim_lock(u32 *lock)
{
	if (unlikely(READ_ONCE(walker) == current))
		cond_resched();
	arena_lock(lock);
}

bool compcache_shim_trylock(u32 *lock)
{
	return arena_trylock(lock);
}

void compcache_shim_unlock(u32 *lock)
{
	arena_unlock(lock);
}

void compcache_shim_begin_walk(bool drops)
{
	might_sleep();
	mutex_lock(&walk_mutex);
	walker_drops = drops;
	WRITE_ONCE(walker, current);
}

void compcache_shim_end_walk(void)
{
	WRITE_ONCE(walker, NULL);
	mutex_unlock(&walk_mutex);
}

/* It does not return, but objtool is not to know: it wants code behind the call in one kernel, and none
 * in another. */
static bool panics = true;

void compcache_shim_bug(const char *file, u32 len, u32 line)
{
	pr_emerg("panic at %.*s:%u\n", (int)len, file, line);
	if (READ_ONCE(panics))
		BUG();
}

/* Out of line: what is on its stack is not there while a page is compressed. */
static noinline unsigned int fetch_pages(struct page **pages)
{
	unsigned int count;

	for (count = 0; count < COMPCACHE_RESERVE; count++) {
		pages[count] = must_fail() ? NULL : alloc_page(GFP_NOIO | __GFP_NOWARN);
		if (!pages[count])
			break;
	}
	return count;
}

static noinline int with_reserve(compcache_op_t op, void *arg)
{
	struct page *pages[COMPCACHE_RESERVE];
	unsigned int count = fetch_pages(pages);
	struct reserve *mine;
	int err;

	if (!count)
		return -ENOMEM;
	preempt_disable();
	mine = this_cpu_ptr(&reserve);
	memcpy(mine->pages, pages, count * sizeof(*pages));
	mine->count = count;
	err = op(arg);
	count = mine->count;
	memcpy(pages, mine->pages, count * sizeof(*pages));
	mine->count = 0;
	preempt_enable();
	while (count)
		__free_page(pages[--count]);
	return err;
}

int compcache_shim_with_pages(compcache_op_t op, void *arg)
{
	int err, tries;

	preempt_disable();
	err = op(arg);
	preempt_enable();
	for (tries = 0; unlikely(err == -ENOMEM) && tries < 4; tries++)
		err = with_reserve(op, arg);
	return err;
}

void *compcache_shim_room(size_t bytes)
{
	/* Page-aligned. */
	return vzalloc(bytes);
}

void compcache_shim_unroom(void *room)
{
	vfree(room);
}

long compcache_shim_pages(void)
{
	return atomic_long_read(&pages_taken);
}

static void *bank;

int __init compcache_shim_init(void)
{
	unsigned int cpus = num_possible_cpus();

	compcache_pages_init(PAGE_OFFSET);
	bank = compcache_shim_room(cpus * compcache_bank_bytes());
	if (!bank)
		return -ENOMEM;
	return compcache_bank_init(bank, cpus);
}

void compcache_shim_exit(void)
{
	long pages = compcache_shim_pages();

	WARN(pages, "compcache: %ld pages were not given back\n", pages);
	compcache_shim_unroom(bank);
}
