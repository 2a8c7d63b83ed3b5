/* Several threads, with locks of pthread as callbacks and with the library's own. */
#include "host.h"

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 400, PAGES = 64 };

struct work {
    struct compcache_cache *cache;
    struct compcache_pool *pool;
    uint64_t number;
};

/* Whoever wrote a page, it is one that somebody wrote, whole. */
static void whole(const unsigned char *page, uint64_t index)
{
    uint64_t seed;
    unsigned char expected[4096];
    memcpy(&seed, page, 8);
    EXPECT(seed % PAGES == index);
    fill(expected, 4096, seed, (unsigned)(seed * 11 % 257));
    EXPECT(memcmp(page + 8, expected + 8, 4096 - 8) == 0);
}

static void *worker(void *argument)
{
    struct work *work = argument;
    unsigned char page[4096], object[3000], back[3000];
    uint64_t state = work->number + 1, handles[16] = { 0 };
    size_t sizes[16] = { 0 };
    for (uint64_t round = 0; round < ROUNDS; round++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t draw = state >> 33, index = draw % PAGES, seed = (draw >> 8) * PAGES + index;
        bool stored;
        switch (draw >> 6 & 7) {
        case 0: case 1: case 2:
            fill(page, sizeof page, seed, (unsigned)(seed * 11 % 257));
            memcpy(page, &seed, 8);
            OK(compcache_cache_put(work->cache, index, page));
            break;
        case 3:
            OK(compcache_cache_discard(work->cache, index, NULL));
            break;
        case 4:
            OK(compcache_cache_compact(work->cache, 4, NULL));
            OK(compcache_pool_compact(work->pool, 4, NULL));
            break;
        default:
            OK(compcache_cache_get(work->cache, index, page, &stored));
            if (stored)
                whole(page, index);
        }
        size_t at = draw % 16;
        if (handles[at] != 0) {
            fill(object, sizes[at], handles[at], 256);
            struct compcache_reading reading = { { 0 } };
            struct compcache_fragment pieces[2];
            size_t count = 0, done = 0;
            OK(compcache_pool_read_begin(work->pool, handles[at], &reading, pieces, 2, &count));
            for (size_t piece = 0; piece < count; piece++) {
                memcpy(back + done, pieces[piece].bytes, pieces[piece].len);
                done += pieces[piece].len;
            }
            OK(compcache_pool_read_end(&reading));
            EXPECT(done == sizes[at] && memcmp(object, back, done) == 0);
            OK(compcache_pool_free(work->pool, handles[at]));
            handles[at] = 0;
        } else {
            sizes[at] = 1 + draw % sizeof object;
            OK(compcache_pool_alloc(work->pool, sizes[at], &handles[at]));
            fill(object, sizes[at], handles[at], 256);
            OK(compcache_pool_write(work->pool, handles[at], 0, object, sizes[at]));
        }
    }
    for (size_t at = 0; at < 16; at++)
        if (handles[at] != 0)
            OK(compcache_pool_free(work->pool, handles[at]));
    return NULL;
}

static void with_locks(bool locks)
{
    struct test_host *test = host_new(4096, locks);
    struct compcache_cache_options options = cache_options(PAGES);
    options.workspaces = 2; /* fewer than threads: some wait */
    struct compcache_pool_options pool_opts = pool_options();
    struct compcache_cache *cache = cache_new(test, &options);
    struct compcache_pool *pool = pool_new(test, &pool_opts);
    pthread_t threads[THREADS];
    struct work work[THREADS];
    for (uint64_t number = 0; number < THREADS; number++) {
        work[number] = (struct work){ cache, pool, number };
        EXPECT(pthread_create(&threads[number], NULL, worker, &work[number]) == 0);
    }
    for (int number = 0; number < THREADS; number++)
        EXPECT(pthread_join(threads[number], NULL) == 0);
    EXPECT(pool_stats(pool).objects == 0);
    OK(compcache_cache_check(cache));
    OK(compcache_cache_reset(cache));
    EXPECT(mm_stat(cache).mem_used_total == 0);
    pool_end(pool);
    cache_end(cache);
    host_end(test);
}

void test_threads(void)
{
    with_locks(true);
    with_locks(false);
}
