/* The n-th page cannot be had, for every n: whatever fails leaves everything as it was. */
#include "host.h"

enum { PAGES = 96, OBJECTS = 40 };

static void put_all(struct test_host *test, struct compcache_cache *cache, long fails_at)
{
    static unsigned char page[4096], back[4096], old[4096];
    long pages = test->pages;
    for (uint64_t index = 0; index < PAGES; index++) {
        fill(page, sizeof page, index + 1000, index * 37 % 257);
        struct compcache_mm_stat before = mm_stat(cache);
        EXPECT(test->pages_left == fails_at - (test->pages - pages));
        enum compcache_status status = compcache_cache_put(cache, index, page);
        if (status == COMPCACHE_OK)
            continue;
        EXPECT(status == COMPCACHE_ERR_OUT_OF_PAGES);
        struct compcache_mm_stat after = mm_stat(cache);
        EXPECT(memcmp(&before, &after, sizeof before) == 0);
        OK(compcache_cache_check(cache));
        /* Every page reads as before: new ones up to here, the old ones from here on. */
        for (uint64_t other = 0; other < PAGES; other++) {
            bool stored;
            fill(old, sizeof old, other < index ? other + 1000 : other,
                 other < index ? other * 37 % 257 : other % 2 ? 60 : 20);
            OK(compcache_cache_get(cache, other, back, &stored));
            EXPECT(stored && memcmp(back, old, sizeof old) == 0);
        }
        return;
    }
    test->pages_left = -1; /* none failed: the loop ends */
}

static void cache_failures(void)
{
    static unsigned char page[4096];
    long steps = 0;
    for (long fails_at = 0;; fails_at++, steps++) {
        struct test_host *test = host_new(4096, true);
        struct compcache_cache_options options = cache_options(PAGES);
        options.workspaces = 1;
        struct compcache_cache *cache = cache_new(test, &options);
        for (uint64_t index = 0; index < PAGES; index++) {
            fill(page, sizeof page, index, index % 2 ? 60 : 20);
            OK(compcache_cache_put(cache, index, page));
        }
        test->pages_left = fails_at;
        put_all(test, cache, fails_at);
        bool finished = test->pages_left == -1;
        test->pages_left = -1;
        OK(compcache_cache_reset(cache));
        EXPECT(test->pages == 0);
        cache_end(cache);
        host_end(test);
        if (finished)
            break;
    }
    EXPECT(steps > 20);
    printf("  a put failed at %ld different pages\n", steps);
}

static void pool_failures(void)
{
    static unsigned char bytes[20000], back[20000];
    long steps = 0;
    for (long fails_at = 0;; fails_at++, steps++) {
        struct test_host *test = host_new(4096, true);
        struct compcache_pool_options options = pool_options();
        struct compcache_pool *pool = pool_new(test, &options);
        uint64_t handles[OBJECTS];
        size_t made = 0;
        test->pages_left = fails_at;
        for (; made < OBJECTS; made++) {
            size_t size = 1 + made * 4801 % sizeof bytes;
            fill(bytes, size, made, 256);
            struct compcache_pool_stats before = pool_stats(pool);
            uint64_t handle = 77;
            enum compcache_status status = compcache_pool_alloc_from(pool, bytes, size, &handle);
            if (status != COMPCACHE_OK) {
                EXPECT(status == COMPCACHE_ERR_OUT_OF_PAGES && handle == 77);
                struct compcache_pool_stats after = pool_stats(pool);
                before.pages_max = after.pages_max; /* pages were taken for a moment */
                EXPECT(memcmp(&before, &after, sizeof before) == 0);
                break;
            }
            handles[made] = handle;
        }
        OK(compcache_pool_check(pool));
        for (size_t at = 0; at < made; at++) {
            size_t size = 1 + at * 4801 % sizeof bytes;
            fill(bytes, size, at, 256);
            OK(compcache_pool_read(pool, handles[at], 0, back, size));
            EXPECT(memcmp(bytes, back, size) == 0);
        }
        /* Compaction without a page to be had. */
        for (size_t at = 0; at < made; at += 2)
            OK(compcache_pool_free(pool, handles[at]));
        test->pages_left = 0;
        OK(compcache_pool_compact(pool, UINT64_MAX, NULL));
        OK(compcache_pool_check(pool));
        for (size_t at = 1; at < made; at += 2) {
            size_t size = 1 + at * 4801 % sizeof bytes;
            fill(bytes, size, at, 256);
            OK(compcache_pool_read(pool, handles[at], 0, back, size));
            EXPECT(memcmp(bytes, back, size) == 0);
        }
        pool_end(pool);
        host_end(test);
        if (made == OBJECTS)
            break;
    }
    EXPECT(steps > 20);
    printf("  an allocation failed at %ld different pages\n", steps);
}

void test_failures(void)
{
    cache_failures();
    pool_failures();
}
