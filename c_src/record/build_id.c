/* build_id: see the header. */
#include "build_id.h"

#include <link.h>
#include <string.h>

uint32_t mt_build_id_find(const void *notes, size_t bytes, uint8_t id[MT_BUILD_ID_MAX]) {
    const char *at = notes;
    ElfW(Nhdr) n;
    while (bytes >= sizeof n) {
        memcpy(&n, at, sizeof n);
        /* Each of the two is filled up to four bytes. */
        uint64_t name = ((uint64_t)n.n_namesz + 3) & ~3ull;
        uint64_t data = ((uint64_t)n.n_descsz + 3) & ~3ull;
        if (sizeof n + name + data > bytes) return 0;
        if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 &&
            memcmp(at + sizeof n, "GNU", 4) == 0 && n.n_descsz > 0 &&
            n.n_descsz <= MT_BUILD_ID_MAX) {
            memcpy(id, at + sizeof n + name, n.n_descsz);
            return n.n_descsz;
        }
        at += sizeof n + name + data;
        bytes -= sizeof n + name + data;
    }
    return 0;
}
