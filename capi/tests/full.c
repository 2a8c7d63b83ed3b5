/* All 2^26 objects of a pool: a gigabyte of memory. And the most stack that calls really take. */
#include "host.h"

#include <pthread.h>
#include <sys/mman.h>

static char *region;
static size_t region_used;
enum { REGION = 3 };

static void *region_alloc(void *context)
{
    (void)context;
    return region_used < (size_t)REGION << 30 ? region + (region_used += 4096) - 4096 : NULL;
}

static void region_free(void *context, void *page)
{
    (void)context;
    (void)page; /* all of it goes at the end */
}

void test_full(void)
{
    region = mmap(NULL, (size_t)REGION << 30, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(region != MAP_FAILED);
    struct test_host *test = host_new(4096, false);
    test->host.page_alloc = region_alloc;
    test->host.page_free = region_free;
    test->host.page_base = (size_t)region;
    struct compcache_pool_options options = pool_options();
    struct compcache_pool *pool = pool_new(test, &options);
    uint64_t handle, last = 0, count = 0;
    enum compcache_status status;
    while ((status = compcache_pool_alloc(pool, 1, &handle)) == COMPCACHE_OK) {
        last = handle;
        count++;
    }
    STATUS(status, COMPCACHE_ERR_POOL_FULL);
    EXPECT(count == (uint64_t)4 << 24 && pool_stats(pool).objects == count);
    printf("  %llu objects in %zu MiB\n", (unsigned long long)count, region_used >> 20);
    STATUS(compcache_pool_alloc(pool, 1, &handle), COMPCACHE_ERR_POOL_FULL);
    OK(compcache_pool_free(pool, last));
    OK(compcache_pool_alloc(pool, 1, &handle));
    OK(compcache_pool_destroy(pool));
    free(pool);
    munmap(region, (size_t)REGION << 30);
    host_end(test);
}

enum { STACK = 256 << 10, PAGES = 256 };

struct depth {
    struct compcache_cache *cache;
    struct compcache_pool *pool;
    bool work;
};

/* What a thread's stack looks like afterwards says how deep it was. */
static void *dig(void *argument)
{
    struct depth *depth = argument;
    static unsigned char page[4096];
    static uint64_t handles[PAGES];
    for (uint64_t index = 0; depth->work && index < 4 * PAGES; index++) {
        fill(page, sizeof page, index, (unsigned)(index * 29 % 257));
        compcache_cache_put(depth->cache, index % PAGES, page);
        compcache_cache_write(depth->cache, index * 7 % PAGES, 512, page, 512);
        compcache_cache_get(depth->cache, index * 3 % PAGES, page, NULL);
        compcache_cache_discard(depth->cache, index * 5 % PAGES, NULL);
        compcache_pool_free(depth->pool, handles[index % PAGES]);
        compcache_pool_alloc_from(depth->pool, page, 1 + index * 53 % 4096, &handles[index % PAGES]);
    }
    if (depth->work) {
        compcache_cache_compact(depth->cache, UINT64_MAX, NULL);
        compcache_pool_compact(depth->pool, UINT64_MAX, NULL);
        compcache_cache_reset(depth->cache);
    }
    return NULL;
}

static size_t depth_of(struct depth *depth)
{
    static char stack[STACK] __attribute__((aligned(4096)));
    pthread_attr_t attributes;
    pthread_t thread;
    memset(stack, 0x77, sizeof stack);
    EXPECT(pthread_attr_init(&attributes) == 0);
    EXPECT(pthread_attr_setstack(&attributes, stack, sizeof stack) == 0);
    EXPECT(pthread_create(&thread, &attributes, dig, depth) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
    size_t clean = 0;
    while (clean < sizeof stack && stack[clean] == 0x77)
        clean++;
    return sizeof stack - clean;
}

void test_stack(void)
{
    struct test_host *test = host_new(4096, false);
    struct compcache_cache_options options = cache_options(PAGES);
    struct compcache_pool_options pool_opts = pool_options();
    struct depth depth = { cache_new(test, &options), pool_new(test, &pool_opts), true };
    size_t deep = depth_of(&depth);
    depth.work = false;
    size_t base = depth_of(&depth);
    printf("  deepest stack seen: %zu bytes, callbacks and fill() included\n", deep - base);
    /* The callbacks here are malloc and free, which need some hundred bytes. */
    EXPECT(deep >= base && deep - base < COMPCACHE_STACK_MAX + 1024);
    pool_end(depth.pool);
    cache_end(depth.cache);
    host_end(test);
}
