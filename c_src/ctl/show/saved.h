/* saved: a census with its names in a file, so that it can be shown again, and compared with
 * that of another run or of another version of the program, whose addresses are others and
 * whose files may have replaced these.
 *
 *   +--------+---------+-------+---------+-------+--------+---------+--------+--------+
 *   | header | figures | texts | objects | sites | stacks | numbers | places | frames |
 *   +--------+---------+-------+---------+-------+--------+---------+--------+--------+
 *
 * Each part begins at a multiple of 8 bytes; numbers are of the byte order of who wrote them.
 * The figures tell how many there are of each. A text is where it begins in the texts, of
 * which the first is empty and stands for none. Stacks are addresses, those of a site one
 * after the other in the order of the sites; for each of them there is the number of its place.
 *
 * Who reads believes nothing: a file that was cut off, changed, or is something else, is
 * refused with a sentence.
 */
#ifndef MT_CTL_SAVED_H
#define MT_CTL_SAVED_H

#include <stdint.h>

#include "census.h"
#include "names.h"
#include "record/log_format.h"

#define MT_SAVED_MAGIC 0x0a7375736e656301ull /* "\1census\n" */
enum { MT_SAVED_VERSION = 2 };

typedef struct mt_saved_header {
    uint64_t magic;
    uint32_t version, header_bytes; /* MT_SAVED_HEADER_BYTES */
    uint64_t bytes;                 /* of the whole file */
    uint64_t checksum;              /* mt_saved_checksum */
} mt_saved_header;

/* Figures of the census that are kept as they are, in the file's order. */
#define MT_SAVED_FIGURES(EACH)                                                                 \
    EACH(start_ns)                                                                             \
    EACH(now_ns)                                                                               \
    EACH(wall_ns)                                                                              \
    EACH(exact)                                                                                \
    EACH(ended)                                                                                \
    EACH(recorded)                                                                             \
    EACH(ignored)                                                                              \
    EACH(thinned)                                                                              \
    EACH(no_slots)                                                                             \
    EACH(no_rows)                                                                              \
    EACH(slots_asked)                                                                          \
    EACH(rows)                                                                                 \
    EACH(interval)                                                                             \
    EACH(slots)                                                                                \
    EACH(evicted_sites)                                                                        \
    EACH(allocations)                                                                          \
    EACH(frees)                                                                                \
    EACH(count)                                                                                \
    EACH(bytes)                                                                                \
    EACH(vss)                                                                                  \
    EACH(rss)                                                                                  \
    EACH(shared)                                                                               \
    EACH(allocator_virtual)                                                                    \
    EACH(allocator_resident)

typedef struct mt_saved_figures {
    uint64_t text_bytes, objects, sites, stacks, places, frames;
    uint64_t pid, command;
#define MT_SAVED_MEMBER(figure) uint64_t figure;
    MT_SAVED_FIGURES(MT_SAVED_MEMBER)
#undef MT_SAVED_MEMBER
} mt_saved_figures;

enum { MT_SAVED_HEADER_BYTES = sizeof(mt_saved_header) + sizeof(mt_saved_figures) };

/* Of a whole file, which is no shorter than its header. */
static inline uint64_t mt_saved_checksum(const uint8_t *file, uint64_t bytes) {
    return mt_log_checksum(file + sizeof(mt_saved_header), bytes - sizeof(mt_saved_header));
}

typedef struct mt_saved_object {
    uint64_t lo, hi, base, since_ns, until_ns, path, build_id_bytes;
    uint8_t build_id[32];
} mt_saved_object;

typedef struct mt_saved_site {
    uint64_t frames, count, bytes, peak_count, peak_bytes, allocated, allocated_bytes;
    double count_variance, bytes_variance;
    uint64_t oldest_ns, youngest_ns;
} mt_saved_site;

typedef struct mt_saved_place {
    uint64_t object, in_file, frames;
} mt_saved_place;

typedef struct mt_saved_frame {
    uint64_t function, offset, file;
    uint32_t line, inlined;
} mt_saved_frame;

typedef struct mt_saved {
    mt_census census; /* its stacks, texts and build ids lie in the file's bytes */
    const uint64_t *stacks;
    const uint32_t *number;
    mt_names_place *place;
    mt_names_frame *frame;
    void *file;
} mt_saved;

/* NULL if it cannot be read or is no such file, which has been said. */
mt_saved *mt_saved_read(const char *path);

/* NULL is fine. */
void mt_saved_free(mt_saved *saved);

/* What frame i of one of its sites was called when it was saved. */
const mt_names_place *mt_saved_named(const mt_saved *saved, const mt_census_site *site,
                                     uint32_t i);

/* Writes a census, all of it, with the names that the view has. 0, or -1 and it has been said.
 */
struct mt_view;
int mt_saved_write(const struct mt_view *view, const char *path);

#endif
