// The headers are C++ too.
#include "compcache.h"
#include "compcache_zs.h"

int main()
{
    compcache_host host;
    return compcache_host_init(&host, sizeof host) == COMPCACHE_OK &&
                   compcache_abi_version() == COMPCACHE_ABI_VERSION
               ? 0
               : 1;
}
