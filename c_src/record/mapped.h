/* mapped: what the kernel says of a mapping (a line of /proc/self/maps, proc(5)), and what an
 * ELF file's own header says where it is mapped.
 *
 * For hooks: no allocation, no lock; memory is read by peek alone, so that a file that is
 * unmapped meanwhile is no fault.
 */
#ifndef MT_RECORD_MAPPED_H
#define MT_RECORD_MAPPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "build_id.h"
#include "peek.h"

typedef struct mt_mapped {
    uint64_t lo, hi;
    uint64_t offset, device, inode; /* inode 0: no file */
    bool executable;
    const char *path; /* in the line; as the kernel has it, "(deleted)" and all */
    size_t path_bytes;
} mt_mapped;

/* False for what is no such line. `line` has no newline and is `bytes` long. */
bool mt_mapped_parse(const char *line, size_t bytes, mt_mapped *mapped);

/* The path as a text: without " (deleted)", its end if it is too long, and "" for what is no
 * file by its name. `room` at least 4. */
void mt_mapped_path(const mt_mapped *mapped, char *path, size_t room);

typedef struct mt_mapped_file {
    uint64_t base; /* what is added to the addresses in the file */
    bool apart;    /* from where the header is mapped: mapped once more, elsewhere */
    uint32_t build_id_bytes;
    uint8_t build_id[MT_BUILD_ID_MAX];
} mt_mapped_file;

/* What reading one needs, on no stack that may be small. */
typedef struct mt_mapped_scratch {
    uint64_t headers[448], notes[512];
} mt_mapped_scratch;

/* Of the ELF file whose header is mapped at `head` and whose code is `code`. False if there is
 * no such header: the base is then where the file's first byte would lie. */
bool mt_mapped_file_read(const mt_peek *peek, uint64_t head, const mt_mapped *code,
                         mt_mapped_scratch *scratch, mt_mapped_file *file);

#endif
