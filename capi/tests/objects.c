/* Pool and cache, as one thread uses them. */
#include "host.h"

enum { OBJECTS = 300 };

static void pool_of_pages(size_t page_size, bool locks)
{
    struct test_host *host = host_new(page_size, locks);
    struct compcache_pool_options options = pool_options();
    options.page_size = page_size;
    struct compcache_pool *pool = pool_new(host, &options);
    static uint64_t handles[OBJECTS];
    static unsigned char bytes[COMPCACHE_OBJECT_MAX], back[COMPCACHE_OBJECT_MAX];

    /* Sizes of compressed pages, and from time to time one that crosses many pages. */
    size_t sizes[OBJECTS];
    for (size_t at = 0; at < OBJECTS; at++) {
        sizes[at] = at % 50 == 0 ? COMPCACHE_OBJECT_MAX - at : 1 + at * 7919 % 4096;
        fill(bytes, sizes[at], at, 256);
        if (at % 2 == 0) {
            OK(compcache_pool_alloc(pool, sizes[at], &handles[at]));
            OK(compcache_pool_read(pool, handles[at], 0, back, sizes[at]));
            for (size_t byte = 0; byte < sizes[at]; byte++)
                EXPECT(back[byte] == 0);
            OK(compcache_pool_write(pool, handles[at], 0, bytes, sizes[at]));
        } else {
            OK(compcache_pool_alloc_from(pool, bytes, sizes[at], &handles[at]));
        }
        EXPECT(handles[at] != 0);
    }
    struct compcache_pool_stats stats = pool_stats(pool);
    EXPECT(stats.objects == OBJECTS);
    EXPECT(stats.used_bytes == (stats.data_pages + stats.metadata_pages) * page_size);
    EXPECT(stats.used_bytes == (uint64_t)host->pages * page_size);

    for (size_t at = 0; at < OBJECTS; at++) {
        size_t size = 0, count = 0, done = 0;
        struct compcache_reading reading = { { 0 } };
        struct compcache_fragment pieces[COMPCACHE_FRAGMENTS_MAX];
        fill(bytes, sizes[at], at, 256);
        OK(compcache_pool_size(pool, handles[at], &size));
        EXPECT(size == sizes[at]);
        OK(compcache_pool_read_begin(pool, handles[at], &reading, pieces, COMPCACHE_FRAGMENTS_MAX,
                                     &count));
        EXPECT(count >= 1 && (size > page_size || count <= 2));
        for (size_t piece = 0; piece < count; piece++) {
            EXPECT(memcmp(pieces[piece].bytes, bytes + done, pieces[piece].len) == 0);
            done += pieces[piece].len;
        }
        EXPECT(done == size);
        OK(compcache_pool_read_end(&reading));
        /* Parts. */
        OK(compcache_pool_read(pool, handles[at], size / 2, back, size - size / 2));
        EXPECT(memcmp(back, bytes + size / 2, size - size / 2) == 0);
    }

    for (size_t at = 0; at < OBJECTS; at += 3)
        OK(compcache_pool_free(pool, handles[at]));
    struct compcache_compacted done = { .struct_size = sizeof done };
    OK(compcache_pool_compact(pool, 2, &done));
    EXPECT(done.objects <= 2 && done.finished <= 1);
    OK(compcache_pool_compact_to_target(pool));
    long before = host->pages;
    OK(compcache_pool_compact(pool, UINT64_MAX, &done));
    EXPECT(done.finished == 1 && host->pages <= before);
    OK(compcache_pool_compact(pool, UINT64_MAX, NULL));
    OK(compcache_pool_check(pool));
    stats = pool_stats(pool);
    /* Packed: payload, headers, rounding, and less than a page for each arena beside tables. */
    EXPECT(stats.data_pages * page_size <= stats.block_bytes + 4 * page_size);
    for (size_t at = 0; at < OBJECTS; at++) {
        fill(bytes, sizes[at], at, 256);
        if (at % 3 == 0) {
            STATUS(compcache_pool_free(pool, handles[at]), COMPCACHE_ERR_BAD_HANDLE);
            continue;
        }
        OK(compcache_pool_read(pool, handles[at], 0, back, sizes[at]));
        EXPECT(memcmp(back, bytes, sizes[at]) == 0);
        OK(compcache_pool_free(pool, handles[at]));
    }
    EXPECT(pool_stats(pool).objects == 0);
    pool_end(pool);
    host_end(host);
}

void test_pool(void)
{
    pool_of_pages(4096, false);
    pool_of_pages(4096, true);
    pool_of_pages(16384, true);
    pool_of_pages(65536, true);
}

enum { PAGES = 200 };

static void make_page(void *page, size_t size, uint64_t index, uint64_t round)
{
    /* Words repeated (small ones, and one that fits in no slot), pages that shrink, and noise. */
    uint64_t words[2] = { index, 0x4123456789abcdefu + index };
    if (index % 5 < 2) {
        for (size_t at = 0; at < size; at += 8)
            memcpy((char *)page + at, &words[index % 5], 8);
    } else {
        fill(page, size, index * 31 + round, index % 5 == 2 ? 256 : (unsigned)(index * 13 % 250));
    }
}

static void cache_of_pages(size_t page_size, bool locks, uint32_t codec, uint64_t flags)
{
    struct test_host *host = host_new(page_size, locks);
    struct compcache_cache_options options = cache_options(PAGES);
    options.page_size = page_size;
    options.codec = codec;
    options.flags = flags;
    options.workspaces = 1;
    struct compcache_cache *cache = cache_new(host, &options);
    unsigned char *page = malloc(page_size), *back = malloc(page_size);
    EXPECT(page != NULL && back != NULL);
    bool stored = true;

    OK(compcache_cache_contains(cache, 0, &stored));
    EXPECT(!stored);
    memset(back, 1, page_size);
    OK(compcache_cache_get(cache, 0, back, &stored));
    EXPECT(!stored && back[0] == 0 && back[page_size - 1] == 0);

    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t index = 0; index < PAGES; index++) {
            make_page(page, page_size, index, round);
            OK(compcache_cache_put(cache, index, page));
        }
        for (uint64_t index = 0; index < PAGES; index++) {
            make_page(page, page_size, index, round);
            OK(compcache_cache_get(cache, index, back, index % 2 ? &stored : NULL));
            EXPECT(memcmp(page, back, page_size) == 0);
            EXPECT(index % 2 == 0 || stored);
        }
    }
    struct compcache_mm_stat stat = mm_stat(cache);
    EXPECT(stat.orig_data_size == PAGES * page_size && stat.same_pages == PAGES * 2 / 5);
    EXPECT(stat.mem_used_total == (uint64_t)host->pages * page_size);
    EXPECT(stat.mem_used_max >= stat.mem_used_total && stat.mem_limit == 0);
    EXPECT(codec == COMPCACHE_CODEC_RAW ? stat.huge_pages == PAGES * 3 / 5
                                        : stat.huge_pages >= PAGES / 5);
    EXPECT(stat.huge_pages_since >= 3 * stat.huge_pages);
    EXPECT(codec == COMPCACHE_CODEC_RAW || stat.compr_data_size < stat.orig_data_size);

    /* Sectors. */
    unsigned char sectors[1024];
    fill(sectors, sizeof sectors, 77, 256);
    make_page(page, page_size, 3, 2);
    OK(compcache_cache_write(cache, 3, 1024, sectors, sizeof sectors));
    memcpy(page + 1024, sectors, sizeof sectors);
    OK(compcache_cache_get(cache, 3, back, NULL));
    EXPECT(memcmp(page, back, page_size) == 0);
    OK(compcache_cache_read(cache, 3, 1536, back, 2048));
    EXPECT(memcmp(page + 1536, back, 2048) == 0);
    OK(compcache_cache_write(cache, 3, 0, page, page_size)); /* a whole page */

    OK(compcache_cache_discard(cache, 3, &stored));
    EXPECT(stored);
    OK(compcache_cache_discard(cache, 3, &stored));
    EXPECT(!stored);
    OK(compcache_cache_contains(cache, 4, &stored));
    EXPECT(stored);

    for (uint64_t index = 0; index < PAGES; index += 2)
        OK(compcache_cache_discard(cache, index, NULL));
    struct compcache_compacted done = { .struct_size = sizeof done };
    OK(compcache_cache_compact(cache, 3, &done));
    EXPECT(done.objects <= 3);
    OK(compcache_cache_compact_to_target(cache));
    OK(compcache_cache_compact(cache, UINT64_MAX, &done));
    EXPECT(done.finished == 1);
    OK(compcache_cache_compact(cache, UINT64_MAX, NULL));
    for (uint64_t index = 5; index < PAGES; index += 2) {
        make_page(page, page_size, index, 2);
        OK(compcache_cache_get(cache, index, back, NULL));
        EXPECT(memcmp(page, back, page_size) == 0);
    }
    OK(compcache_cache_check(cache));

    struct compcache_io_stat io = { .struct_size = sizeof io };
    OK(compcache_cache_get_io_stat(cache, &io));
    EXPECT(io.writes >= 3 * PAGES && io.reads >= 3 * PAGES && io.failed_reads == 0);
    EXPECT(io.failed_writes == 0 && io.invalid_io == 0 && io.notify_free >= PAGES / 2);

    OK(compcache_cache_reset_mem_used_max(cache));
    stat = mm_stat(cache);
    EXPECT(stat.mem_used_max == stat.mem_used_total);
    OK(compcache_cache_reset(cache));
    stat = mm_stat(cache);
    EXPECT(stat.orig_data_size == 0 && stat.mem_used_total == 0 && host->pages == 0);

    /* And it goes on. */
    make_page(page, page_size, 9, 9);
    OK(compcache_cache_put(cache, 9, page));
    OK(compcache_cache_get(cache, 9, back, NULL));
    EXPECT(memcmp(page, back, page_size) == 0);
    free(page);
    free(back);
    cache_end(cache);
    host_end(host);
}

void test_cache(void)
{
    cache_of_pages(4096, false, COMPCACHE_CODEC_LZ4, 0);
    cache_of_pages(4096, true, COMPCACHE_CODEC_LZ4, 0);
    cache_of_pages(4096, true, COMPCACHE_CODEC_RAW, 0);
    cache_of_pages(4096, true, COMPCACHE_CODEC_LZ4, COMPCACHE_NO_CHECKSUM);
    cache_of_pages(16384, true, COMPCACHE_CODEC_LZ4, 0);
    cache_of_pages(65536, true, COMPCACHE_CODEC_LZ4, 0);
}
