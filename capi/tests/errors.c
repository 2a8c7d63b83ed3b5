/* Every status, each by what it is there for. */
#include "host.h"

static void versions(void)
{
    EXPECT(compcache_abi_version() == COMPCACHE_ABI_VERSION);
    EXPECT(strlen(compcache_version()) >= 5);
    for (int status = -2; status < 40; status++)
        EXPECT(strlen(compcache_strerror(status)) > 3);

    struct compcache_host host;
    STATUS(compcache_host_init(NULL, sizeof host), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_host_init(&host, 8), COMPCACHE_ERR_BAD_VERSION);
    struct compcache_pool_options pool;
    STATUS(compcache_pool_options_init(NULL, sizeof pool), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_options_init(&pool, sizeof pool - 1), COMPCACHE_ERR_BAD_VERSION);
    struct compcache_cache_options cache;
    STATUS(compcache_cache_options_init(NULL, sizeof cache), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_options_init(&cache, 0), COMPCACHE_ERR_BAD_VERSION);

    /* A program that was compiled with a later header: its fields are zero, or it is told. */
    struct { struct compcache_pool_options options; uint64_t later[2]; } newer;
    struct test_host *test = host_new(4096, false);
    size_t size, align;
    OK(compcache_pool_options_init(&newer.options, sizeof newer));
    EXPECT(newer.options.struct_size == sizeof newer && newer.later[0] == 0 && newer.later[1] == 0);
    OK(compcache_pool_layout(&newer.options, &test->host, &size, &align));
    newer.later[1] = 1;
    STATUS(compcache_pool_layout(&newer.options, &test->host, &size, &align), COMPCACHE_ERR_BAD_VERSION);
    newer.later[1] = 0;
    newer.options.struct_size = 1 << 20;
    STATUS(compcache_pool_layout(&newer.options, &test->host, &size, &align), COMPCACHE_ERR_BAD_VERSION);

    struct compcache_pool_options options = pool_options();
    struct compcache_pool *object = pool_new(test, &options);
    struct { struct compcache_pool_stats stats; uint64_t later; } wide = { .later = 7 };
    wide.stats.struct_size = sizeof wide;
    OK(compcache_pool_get_stats(object, &wide.stats));
    EXPECT(wide.stats.struct_size == sizeof wide.stats && wide.later == 7);
    wide.stats.struct_size = 16;
    STATUS(compcache_pool_get_stats(object, &wide.stats), COMPCACHE_ERR_BAD_VERSION);
    struct compcache_compacted done = { .struct_size = 1 };
    STATUS(compcache_pool_compact(object, 1, &done), COMPCACHE_ERR_BAD_VERSION);
    pool_end(object);
    host_end(test);
}

static void making(void)
{
    struct test_host *test = host_new(4096, true);
    struct compcache_pool_options options = pool_options();
    struct compcache_cache_options cache_opts = cache_options(10);
    struct compcache_host good = test->host, *host = &test->host;
    struct compcache_pool *pool = NULL;
    struct compcache_cache *cache = NULL;
    size_t size, align;
    OK(compcache_pool_layout(&options, host, &size, &align));
    char *memory = NULL;
    EXPECT(posix_memalign((void **)&memory, align, size + align) == 0);

    STATUS(compcache_pool_layout(NULL, host, &size, &align), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_layout(&options, NULL, &size, &align), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_layout(&options, host, NULL, &align), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_layout(&options, host, &size, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_create(NULL, size, &options, host, &pool), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_create(memory, size, &options, host, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_create(memory, size - 1, &options, host, &pool), COMPCACHE_ERR_BAD_MEMORY);
    STATUS(compcache_pool_create(memory + 8, size, &options, host, &pool), COMPCACHE_ERR_BAD_MEMORY);
    STATUS(compcache_cache_create(memory, size, &cache_opts, host, &cache), COMPCACHE_ERR_BAD_MEMORY);

    /* Options that cannot be. */
    options.page_size = 8192;
    STATUS(compcache_pool_create(memory, size, &options, host, &pool), COMPCACHE_ERR_BAD_OPTION);
    options = pool_options();
    options.inline_moves = (uint64_t)1 << 32;
    STATUS(compcache_pool_create(memory, size, &options, host, &pool), COMPCACHE_ERR_BAD_OPTION);
    options = pool_options();
#define BAD_HOST(change)                                                                        \
    do {                                                                                        \
        change;                                                                                 \
        STATUS(compcache_pool_create(memory, size, &options, host, &pool), COMPCACHE_ERR_BAD_OPTION); \
        *host = good;                                                                           \
    } while (0)
    BAD_HOST(host->page_alloc = NULL);
    BAD_HOST(host->page_free = NULL);
    BAD_HOST(host->page_base = 4097);
    BAD_HOST(host->lock_init = NULL);
    BAD_HOST(host->lock_release = NULL);
    BAD_HOST(host->lock_align = 0);
    BAD_HOST(host->lock_align = 24);
    BAD_HOST(host->lock_align = 8192);
    BAD_HOST(host->lock_size = 5000);
#define BAD_CACHE(change)                                                                       \
    do {                                                                                        \
        change;                                                                                 \
        STATUS(compcache_cache_layout(&cache_opts, host, &size, &align), COMPCACHE_ERR_BAD_OPTION); \
        cache_opts = cache_options(10);                                                         \
    } while (0)
    BAD_CACHE(cache_opts.pages = 0);
    BAD_CACHE(cache_opts.pages = UINT64_MAX);
    BAD_CACHE(cache_opts.page_size = 0);
    BAD_CACHE(cache_opts.codec = 2);
    BAD_CACHE(cache_opts.flags = 2);
    BAD_CACHE(cache_opts.workspaces = 0);
    BAD_CACHE(cache_opts.workspaces = UINT32_MAX);
    BAD_CACHE(cache_opts.inline_moves = UINT64_MAX);

    /* A lock that cannot be made: those before it are ended. */
    for (test->locks_left = 0; test->locks_left < 4;) {
        long left = test->locks_left;
        STATUS(compcache_pool_create(memory, size, &options, host, &pool), COMPCACHE_ERR_LOCK_FAILED);
        EXPECT(test->locks == 0 && pool == NULL);
        test->locks_left = left + 1;
    }
    test->locks_left = -1;
    OK(compcache_pool_create(memory, size, &options, host, &pool));
    EXPECT(test->locks == 4);
    OK(compcache_pool_destroy(pool));
    STATUS(compcache_pool_destroy(pool), COMPCACHE_ERR_BAD_OBJECT);
    STATUS(compcache_pool_destroy(NULL), COMPCACHE_ERR_NULL_POINTER);
    free(memory);
    host_end(test);
}

static void pools(void)
{
    struct test_host *test = host_new(4096, true);
    struct compcache_pool_options options = pool_options();
    struct compcache_pool *pool = pool_new(test, &options), *other = pool_new(test, &options);
    static unsigned char bytes[COMPCACHE_OBJECT_MAX + 1];
    struct compcache_fragment pieces[COMPCACHE_FRAGMENTS_MAX];
    struct compcache_reading reading = { { 0 } };
    uint64_t handle = 0, foreign = 0, big = 0;
    size_t size, count = 0;

    STATUS(compcache_pool_alloc(pool, 10, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_alloc(NULL, 10, &handle), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_alloc((struct compcache_pool *)(void *)bytes, 10, &handle), COMPCACHE_ERR_BAD_OBJECT);
    STATUS(compcache_pool_alloc((struct compcache_pool *)(void *)((char *)pool + 1), 10, &handle), COMPCACHE_ERR_BAD_OBJECT);
    STATUS(compcache_pool_alloc(pool, 0, &handle), COMPCACHE_ERR_BAD_SIZE);
    STATUS(compcache_pool_alloc(pool, COMPCACHE_OBJECT_MAX + 1, &handle), COMPCACHE_ERR_BAD_SIZE);
    STATUS(compcache_pool_alloc_from(pool, bytes, COMPCACHE_OBJECT_MAX + 1, &handle), COMPCACHE_ERR_BAD_SIZE);
    STATUS(compcache_pool_alloc_from(pool, bytes, SIZE_MAX, &handle), COMPCACHE_ERR_BAD_SIZE);
    STATUS(compcache_pool_alloc_from(pool, NULL, 1, &handle), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_alloc_from(pool, bytes, 1, NULL), COMPCACHE_ERR_NULL_POINTER);
    EXPECT(handle == 0 && test->pages == 0);

    /* Handles: none, forged, another pool's, freed. */
    OK(compcache_pool_alloc(pool, 100, &handle));
    OK(compcache_pool_alloc(other, 100, &foreign));
    uint64_t bad[] = { 0, 1, UINT64_MAX, handle + 1, handle ^ (uint64_t)1 << 33, foreign };
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        STATUS(compcache_pool_free(pool, bad[at]), COMPCACHE_ERR_BAD_HANDLE);
        STATUS(compcache_pool_size(pool, bad[at], &size), COMPCACHE_ERR_BAD_HANDLE);
        STATUS(compcache_pool_read(pool, bad[at], 0, bytes, 1), COMPCACHE_ERR_BAD_HANDLE);
        STATUS(compcache_pool_write(pool, bad[at], 0, bytes, 1), COMPCACHE_ERR_BAD_HANDLE);
        STATUS(compcache_pool_read_begin(pool, bad[at], &reading, pieces, 2, &count), COMPCACHE_ERR_BAD_HANDLE);
    }
    STATUS(compcache_pool_size(pool, handle, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_read(pool, handle, 0, NULL, 1), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_write(pool, handle, 0, NULL, 1), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_read(pool, handle, 1, bytes, 100), COMPCACHE_ERR_BAD_RANGE);
    STATUS(compcache_pool_write(pool, handle, 101, bytes, 1), COMPCACHE_ERR_BAD_RANGE);
    STATUS(compcache_pool_write(pool, handle, SIZE_MAX, bytes, 1), COMPCACHE_ERR_BAD_RANGE);
    STATUS(compcache_pool_write(pool, handle, 0, bytes, SIZE_MAX), COMPCACHE_ERR_BAD_RANGE);

    /* Readings. */
    STATUS(compcache_pool_read_begin(pool, handle, NULL, pieces, 2, &count), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_read_begin(pool, handle, &reading, NULL, 2, &count), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_read_begin(pool, handle, &reading, pieces, 2, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_read_end(NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_read_end(&reading), COMPCACHE_ERR_BAD_OBJECT);
    OK(compcache_pool_alloc(pool, 60000, &big));
    STATUS(compcache_pool_read_begin(pool, big, &reading, pieces, 0, &count), COMPCACHE_ERR_TOO_MANY_FRAGMENTS);
    EXPECT(count >= 1);
    OK(compcache_pool_write(pool, big, 0, bytes, 1)); /* it is not held */
    OK(compcache_pool_read_begin(pool, big, &reading, pieces, COMPCACHE_FRAGMENTS_MAX, &count));
    STATUS(compcache_pool_destroy(pool), COMPCACHE_ERR_BUSY);
    OK(compcache_pool_read_end(&reading));
    STATUS(compcache_pool_read_end(&reading), COMPCACHE_ERR_BAD_OBJECT);

    /* Memory. */
    OK(compcache_pool_set_limit(pool, 1));
    STATUS(compcache_pool_alloc(pool, 60000, &big), COMPCACHE_ERR_LIMIT_REACHED);
    OK(compcache_pool_set_limit(pool, 0));
    test->pages_left = 0;
    STATUS(compcache_pool_alloc(pool, 60000, &big), COMPCACHE_ERR_OUT_OF_PAGES);
    test->pages_left = -1;
    long pages = test->pages, messages = test->messages;
    test->bad_page = 1;
    STATUS(compcache_pool_alloc(pool, 60000, &big), COMPCACHE_ERR_BAD_PAGE);
    test->bad_page = 2;
    STATUS(compcache_pool_alloc(pool, 60000, &big), COMPCACHE_ERR_BAD_PAGE);
    EXPECT(test->pages == pages && test->messages == messages + 2 && test->value != 0);
    test->bad_page = 0;
    OK(compcache_pool_free(pool, handle));
    STATUS(compcache_pool_free(pool, handle), COMPCACHE_ERR_BAD_HANDLE);
    STATUS(compcache_pool_get_stats(pool, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_check(NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_compact(NULL, 1, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_compact_to_target(NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_pool_set_limit(NULL, 1), COMPCACHE_ERR_NULL_POINTER);
    pool_end(other);
    pool_end(pool);
    host_end(test);
}

static void caches(void)
{
    struct test_host *test = host_new(4096, true);
    struct compcache_cache_options options = cache_options(10);
    struct compcache_cache *cache = cache_new(test, &options);
    static unsigned char page[4096 * 2], back[4096];
    bool stored;
    fill(page, 4096, 5, 256);

    /* A pool is no cache. */
    struct compcache_pool_options pool_opts = pool_options();
    struct compcache_pool *pool = pool_new(test, &pool_opts);
    STATUS(compcache_cache_put((struct compcache_cache *)(void *)pool, 0, page), COMPCACHE_ERR_BAD_OBJECT);
    STATUS(compcache_pool_check((struct compcache_pool *)(void *)cache), COMPCACHE_ERR_BAD_OBJECT);
    pool_end(pool);

    STATUS(compcache_cache_put(NULL, 0, page), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_put(cache, 0, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_get(cache, 0, NULL, &stored), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_read(cache, 0, 0, NULL, 512), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_write(cache, 0, 0, NULL, 512), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_contains(cache, 0, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_get_mm_stat(cache, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_get_io_stat(cache, NULL), COMPCACHE_ERR_NULL_POINTER);
    STATUS(compcache_cache_put(cache, 10, page), COMPCACHE_ERR_OUT_OF_RANGE);
    STATUS(compcache_cache_get(cache, UINT64_MAX, back, NULL), COMPCACHE_ERR_OUT_OF_RANGE);
    STATUS(compcache_cache_discard(cache, 10, NULL), COMPCACHE_ERR_OUT_OF_RANGE);
    STATUS(compcache_cache_contains(cache, 10, &stored), COMPCACHE_ERR_OUT_OF_RANGE);
    STATUS(compcache_cache_read(cache, 0, 1, back, 512), COMPCACHE_ERR_BAD_RANGE);
    STATUS(compcache_cache_read(cache, 0, 0, back, 100), COMPCACHE_ERR_BAD_RANGE);
    STATUS(compcache_cache_write(cache, 0, 4096, page, 512), COMPCACHE_ERR_BAD_RANGE);
    STATUS(compcache_cache_write(cache, 0, 0, page, 8192), COMPCACHE_ERR_BAD_RANGE);
    STATUS(compcache_cache_write(cache, 0, SIZE_MAX - 511, page, 512), COMPCACHE_ERR_BAD_RANGE);
    struct compcache_io_stat io = { .struct_size = 8 };
    STATUS(compcache_cache_get_io_stat(cache, &io), COMPCACHE_ERR_BAD_VERSION);
    io.struct_size = sizeof io;
    OK(compcache_cache_get_io_stat(cache, &io));
    EXPECT(io.invalid_io == 9);
    struct compcache_compacted done = { .struct_size = 0 };
    STATUS(compcache_cache_compact(cache, 1, &done), COMPCACHE_ERR_BAD_VERSION);
    EXPECT(test->pages == 0);

    OK(compcache_cache_set_mem_limit(cache, 1));
    EXPECT(mm_stat(cache).mem_limit == 4096);
    STATUS(compcache_cache_put(cache, 0, page), COMPCACHE_ERR_LIMIT_REACHED);
    OK(compcache_cache_set_mem_limit(cache, 0));
    test->pages_left = 0;
    STATUS(compcache_cache_put(cache, 0, page), COMPCACHE_ERR_OUT_OF_PAGES);
    STATUS(compcache_cache_write(cache, 0, 512, page, 512), COMPCACHE_ERR_OUT_OF_PAGES);
    test->pages_left = -1;
    test->bad_page = 1;
    STATUS(compcache_cache_put(cache, 0, page), COMPCACHE_ERR_BAD_PAGE);
    test->bad_page = 0;

    /* A page whose bytes were damaged is an error and zeroes, never wrong bytes. */
    OK(compcache_cache_put(cache, 3, page));
    EXPECT(host_damage(test, page + 100, 64) == 1);
    long messages = test->messages;
    memset(back, 1, sizeof back);
    STATUS(compcache_cache_get(cache, 3, back, &stored), COMPCACHE_ERR_CORRUPT);
    EXPECT(back[0] == 0 && back[4095] == 0);
    STATUS(compcache_cache_read(cache, 3, 0, back, 512), COMPCACHE_ERR_CORRUPT);
    STATUS(compcache_cache_write(cache, 3, 0, page, 512), COMPCACHE_ERR_CORRUPT);
    EXPECT(test->messages == messages + 3 && test->value == 3);
    OK(compcache_cache_put(cache, 3, page));
    OK(compcache_cache_get(cache, 3, back, &stored));
    EXPECT(memcmp(page, back, 4096) == 0);

    cache_end(cache);
    STATUS(compcache_cache_destroy(NULL), COMPCACHE_ERR_NULL_POINTER);
    host_end(test);
}

void test_errors(void)
{
    versions();
    making();
    pools();
    caches();
}
