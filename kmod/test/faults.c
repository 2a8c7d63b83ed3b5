// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Errors made on purpose, each of a kind that one of the kernel's checks is there for: a check that does not
 * report its error is not on, and what it says about the module proves nothing.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/kfence.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

static char *what = "";
module_param(what, charp, 0400);

#define TRIES 4096
/* A size that few others ask for. */
#define BYTES 512

/* Not for the compiler to know about. */
static void spoil(void *place)
{
	OPTIMIZER_HIDE_VAR(place);
	*(volatile u8 *)place = 0x77;
}

/* A page is written after it was freed. It is looked at when somebody gets it. */
static void page_after_free(void)
{
	struct page *page = alloc_page(GFP_KERNEL), *next, *others = NULL;
	unsigned int tries;

	if (!page)
		return;
	__free_page(page);
	spoil(page_address(page) + 100);
	for (tries = 0; tries < TRIES; tries++) {
		next = alloc_page(GFP_KERNEL);
		if (!next)
			break;
		set_page_private(next, (unsigned long)others);
		others = next;
		if (next == page)
			break;
	}
	while (others) {
		next = (struct page *)page_private(others);
		set_page_private(others, 0);
		__free_page(others);
		others = next;
	}
}

/* The guest has all objects looked at afterwards. */
static void object_after_free(void)
{
	u8 *object;

	do {
		object = kmalloc(BYTES, GFP_KERNEL);
		if (!object)
			return;
		kfree(object);
	} while (is_kfence_address(object));
	spoil(object + 100);
}

static void object_overrun(void)
{
	u8 *object = kmalloc(BYTES, GFP_KERNEL);

	if (!object)
		return;
	spoil(object + BYTES);
	kfree(object);
}

static void kfence(void)
{
	unsigned int tries;
	u8 *object;
	bool guarded;

	for (tries = 0; tries < TRIES; tries++) {
		object = kmalloc(BYTES, GFP_KERNEL);
		if (!object)
			return;
		guarded = is_kfence_address(object);
		kfree(object);
		if (guarded) {
			spoil(object + 100);
			return;
		}
		usleep_range(500, 1000);
	}
}

/* Ends the thread that does it. */
static int delete_twice(void *unused)
{
	LIST_HEAD(list);
	struct list_head entry;

	list_add(&entry, &list);
	list_del(&entry);
	list_del(&entry);
	return 0;
}

static void list(void)
{
	if (!IS_ERR(kthread_run(delete_twice, NULL, "faults")))
		msleep(500);
}

static void sleep_in_atomic(void)
{
	preempt_disable();
	schedule_timeout_uninterruptible(1);
	preempt_enable();
}

/* Seconds without letting go of the CPU, and of waiting for nothing. */
#define SECONDS 5

static void keep_cpu(void)
{
	unsigned long end = jiffies + SECONDS * HZ;

	preempt_disable();
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
}

static void hang(void)
{
	schedule_timeout_uninterruptible(SECONDS * HZ);
}

static const struct {
	const char *name;
	void (*make)(void);
} faults[] = {
	{ "page_after_free", page_after_free },
	{ "object_after_free", object_after_free },
	{ "object_overrun", object_overrun },
	{ "kfence", kfence },
	{ "list", list },
	{ "sleep_in_atomic", sleep_in_atomic },
	{ "keep_cpu", keep_cpu },
	{ "hang", hang },
};

static int __init faults_init(void)
{
	size_t number;

	for (number = 0; number < ARRAY_SIZE(faults); number++) {
		if (strcmp(faults[number].name, what))
			continue;
		faults[number].make();
		return 0;
	}
	return -EINVAL;
}
module_init(faults_init);

static void __exit faults_exit(void)
{
}
module_exit(faults_exit);

MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("For tests: errors that the kernel's checks have to report");
