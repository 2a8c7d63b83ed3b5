#include "host.h"

#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static void *page_alloc(void *context)
{
    struct test_host *host = context;
    void *page = NULL;
    pthread_mutex_lock(&guard);
    host->allocations++;
    if (host->pages_left != 0 && host->page_list_len < 1 << 16) {
        page = aligned_alloc(host->page_size, host->page_size);
        EXPECT(page != NULL);
        memset(page, 0xa5, host->page_size);
        host->page_list[host->page_list_len++] = page;
        host->pages++;
        if (host->pages_left > 0)
            host->pages_left--;
        if (host->bad_page == 1)
            page = (char *)page + 512;
        else if (host->bad_page == 2) /* wraps around, or is 2^62 bytes away */
            page = (void *)((uintptr_t)page ^ (uintptr_t)1 << 62);
    }
    pthread_mutex_unlock(&guard);
    return page;
}

static void page_free(void *context, void *page)
{
    struct test_host *host = context;
    pthread_mutex_lock(&guard);
    if (host->bad_page == 1)
        page = (char *)page - 512;
    else if (host->bad_page == 2)
        page = (void *)((uintptr_t)page ^ (uintptr_t)1 << 62);
    size_t at = 0;
    /* From the end: what was given last goes first. */
    for (at = host->page_list_len; at > 0 && host->page_list[at - 1] != page; at--)
        ;
    EXPECT(at > 0);
    host->page_list[at - 1] = host->page_list[--host->page_list_len];
    host->pages--;
    if (host->pages_left >= 0)
        host->pages_left++;
    free(page);
    pthread_mutex_unlock(&guard);
}

static int lock_init(void *context, void *lock)
{
    struct test_host *host = context;
    if (host->locks_left == 0)
        return -1;
    if (host->locks_left > 0)
        host->locks_left--;
    host->locks++;
    return pthread_mutex_init(lock, NULL);
}

static void lock_destroy(void *context, void *lock)
{
    struct test_host *host = context;
    EXPECT(pthread_mutex_destroy(lock) == 0);
    host->locks--;
}

/* No thread ever holds two, says the header. */
static _Thread_local int held;

static void lock_acquire(void *context, void *lock)
{
    struct test_host *host = context;
    EXPECT(held == 0);
    EXPECT(pthread_mutex_lock(lock) == 0);
    held = 1;
    __atomic_add_fetch(&host->held, 1, __ATOMIC_RELAXED);
}

static void lock_release(void *context, void *lock)
{
    struct test_host *host = context;
    EXPECT(held == 1);
    held = 0;
    __atomic_sub_fetch(&host->held, 1, __ATOMIC_RELAXED);
    EXPECT(pthread_mutex_unlock(lock) == 0);
}

static void note(void *context, uint32_t level, const char *message, uint64_t value)
{
    struct test_host *host = context;
    EXPECT(level <= COMPCACHE_LOG_WARNING);
    host->messages++;
    host->message = message;
    host->value = value;
}

struct test_host *host_new(size_t page_size, bool locks)
{
    struct test_host *host = calloc(1, sizeof *host);
    EXPECT(host != NULL);
    host->page_size = page_size;
    host->pages_left = -1;
    host->locks_left = -1;
    OK(compcache_host_init(&host->host, sizeof host->host));
    host->host.context = host;
    host->host.page_alloc = page_alloc;
    host->host.page_free = page_free;
    host->host.log = note;
    if (locks) {
        host->host.lock_size = sizeof(pthread_mutex_t);
        host->host.lock_align = _Alignof(pthread_mutex_t);
        host->host.lock_init = lock_init;
        host->host.lock_destroy = lock_destroy;
        host->host.lock_acquire = lock_acquire;
        host->host.lock_release = lock_release;
    }
    return host;
}

void host_end(struct test_host *host)
{
    EXPECT(host->pages == 0 && host->page_list_len == 0);
    EXPECT(host->locks == 0 && host->held == 0);
    free(host);
}

size_t host_damage(struct test_host *host, const void *bytes, size_t len)
{
    size_t found = 0;
    for (size_t at = 0; at < host->page_list_len; at++) {
        unsigned char *page = host->page_list[at];
        for (size_t byte = 0; byte + len <= host->page_size; byte++) {
            if (memcmp(page + byte, bytes, len) == 0) {
                page[byte] ^= 1;
                found++;
            }
        }
    }
    return found;
}

void host_destroy_pages(struct test_host *host)
{
    for (size_t at = 0; at < host->page_list_len; at++)
        memset(host->page_list[at], 0x5b, host->page_size);
}

struct compcache_pool_options pool_options(void)
{
    struct compcache_pool_options options;
    OK(compcache_pool_options_init(&options, sizeof options));
    return options;
}

struct compcache_cache_options cache_options(uint64_t pages)
{
    struct compcache_cache_options options;
    OK(compcache_cache_options_init(&options, sizeof options));
    EXPECT(options.struct_size == sizeof options && options.page_size == 4096);
    EXPECT(options.codec == COMPCACHE_CODEC_LZ4 && options.workspaces == 4);
    options.pages = pages;
    return options;
}

/* Objects of all tests: memory of the size that was asked for, and nothing behind it. */
static void *object_memory(size_t size, size_t align)
{
    void *memory = NULL;
    EXPECT(size > 0 && posix_memalign(&memory, align < sizeof(void *) ? sizeof(void *) : align, size) == 0);
    memset(memory, 0x5a, size);
    return memory;
}

struct compcache_pool *pool_new(struct test_host *host, struct compcache_pool_options *options)
{
    struct compcache_pool *pool = NULL;
    size_t size = 0, align = 0;
    OK(compcache_pool_layout(options, &host->host, &size, &align));
    void *memory = object_memory(size, align);
    OK(compcache_pool_create(memory, size, options, &host->host, &pool));
    EXPECT((void *)pool == memory);
    return pool;
}

void pool_end(struct compcache_pool *pool)
{
    OK(compcache_pool_check(pool));
    OK(compcache_pool_destroy(pool));
    free(pool);
}

struct compcache_cache *cache_new(struct test_host *host, struct compcache_cache_options *options)
{
    struct compcache_cache *cache = NULL;
    size_t size = 0, align = 0;
    OK(compcache_cache_layout(options, &host->host, &size, &align));
    void *memory = object_memory(size, align);
    OK(compcache_cache_create(memory, size, options, &host->host, &cache));
    EXPECT((void *)cache == memory);
    return cache;
}

void cache_end(struct compcache_cache *cache)
{
    OK(compcache_cache_check(cache));
    OK(compcache_cache_destroy(cache));
    free(cache);
}

struct compcache_mm_stat mm_stat(struct compcache_cache *cache)
{
    struct compcache_mm_stat stat = { .struct_size = sizeof stat };
    OK(compcache_cache_get_mm_stat(cache, &stat));
    EXPECT(stat.struct_size == sizeof stat);
    return stat;
}

struct compcache_pool_stats pool_stats(struct compcache_pool *pool)
{
    struct compcache_pool_stats stats = { .struct_size = sizeof stats };
    OK(compcache_pool_get_stats(pool, &stats));
    EXPECT(stats.struct_size == sizeof stats);
    return stats;
}

void fill(void *bytes, size_t len, uint64_t seed, unsigned noise)
{
    unsigned char *to = bytes;
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t byte = 0; byte < len; byte++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        to[byte] = byte % 256 < noise ? state >> 56 : (unsigned char)(byte >> 8);
    }
    if (len >= 8)
        memcpy(to + len - 8, &state, 8);
}

static atomic_bool seen[32];

void status_seen(enum compcache_status status)
{
    EXPECT(status >= 0 && status < 32);
    atomic_store_explicit(&seen[status], true, memory_order_relaxed);
}

void expect_all_statuses_seen(void)
{
    int missing = 0;
    const char *unknown = compcache_strerror(-1);
    for (int status = 0; strcmp(compcache_strerror(status), unknown) != 0; status++) {
        if (!seen[status]) {
            fprintf(stderr, "no test provokes status %d (%s)\n", status, compcache_strerror(status));
            missing++;
        }
    }
    EXPECT(missing == 0 && seen[COMPCACHE_OK] && seen[COMPCACHE_ERR_INTERNAL]);
}
