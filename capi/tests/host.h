/* An embedder for the tests: pages that can run out, be damaged and be counted; locks of threads. */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include "compcache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition)                                                             \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);           \
            abort();                                                                  \
        }                                                                             \
    } while (0)

/* The call has this status; says which it had if not. */
#define STATUS(call, wanted)                                                          \
    do {                                                                              \
        enum compcache_status got_ = (call);                                          \
        status_seen(got_);                                                            \
        if (got_ != (wanted)) {                                                       \
            fprintf(stderr, "%s:%d: %s: got %d (%s), expected %s\n", __FILE__, __LINE__, #call,  \
                    (int)got_, compcache_strerror((int)got_), #wanted);               \
            abort();                                                                  \
        }                                                                             \
    } while (0)
#define OK(call) STATUS(call, COMPCACHE_OK)

/* Notes that a status was returned; at the end every one must have been. */
void status_seen(enum compcache_status status);
void expect_all_statuses_seen(void);

struct test_host {
    struct compcache_host host;
    size_t page_size;
    long pages;        /* given and not taken back */
    long pages_left;   /* page_alloc fails when this is 0; below 0 it never does */
    long allocations;  /* calls of page_alloc */
    long bad_page;     /* 1: the next page is not aligned; 2: it is far away */
    long locks;        /* made and not ended */
    long locks_left;   /* lock_init fails when this is 0; below 0 it never does */
    long held;         /* locks that are held */
    long messages;     /* that were logged */
    const char *message; /* the last one, */
    uint64_t value;    /* and its number */
    /* All pages, for tests that damage them. */
    void *page_list[1 << 16];
    size_t page_list_len;
};

/* `locks`: with locks of pthread; else the library's own. */
struct test_host *host_new(size_t page_size, bool locks);
/* Everything must have been given back. */
void host_end(struct test_host *host);
/* How many bytes of pages were overwritten that were `len` bytes equal to `bytes`. */
size_t host_damage(struct test_host *host, const void *bytes, size_t len);
/* Overwrites every page. */
void host_destroy_pages(struct test_host *host);

struct compcache_pool *pool_new(struct test_host *host, struct compcache_pool_options *options);
void pool_end(struct compcache_pool *pool);
struct compcache_cache *cache_new(struct test_host *host, struct compcache_cache_options *options);
void cache_end(struct compcache_cache *cache);
struct compcache_pool_options pool_options(void);
struct compcache_cache_options cache_options(uint64_t pages);
struct compcache_mm_stat mm_stat(struct compcache_cache *cache);
struct compcache_pool_stats pool_stats(struct compcache_pool *pool);

/* Bytes that follow from a seed: `noise` of 256 parts of them cannot be compressed. */
void fill(void *bytes, size_t len, uint64_t seed, unsigned noise);

void test_pool(void);
void test_cache(void);
void test_errors(void);
void test_failures(void);
void test_threads(void);
void test_zs(void);
void test_panic(void);
void test_full(void);
void test_stack(void);

#endif
