/* eh_frame: reads the entries of an object's .eh_frame (LSB 5, 10.6), in the memory where the
 * object is mapped. Any thread, hooks too; takes no lock, allocates nothing, and reads nothing
 * outside of the object's mapping, whatever its tables say.
 */
#ifndef MT_RECORD_EH_FRAME_H
#define MT_RECORD_EH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The object that holds an address. */
typedef struct mt_eh_object {
    const uint8_t *start, *end; /* its mapping; with gaps in it, the segment's */
    const uint8_t *eh_frame_hdr;
    const void *map; /* its struct link_map */
} mt_eh_object;

/* True where the C library can find objects without a lock (_dl_find_object, glibc 2.35, which
 * is made for unwinders in signal handlers). */
bool mt_eh_exists(void);

bool mt_eh_find_object(uintptr_t address, mt_eh_object *object);

/* A cursor never leaves [at, end): beyond, everything reads as 0 and `bad` is set. */
typedef struct mt_cursor {
    const uint8_t *at, *end;
    bool bad;
} mt_cursor;

uint64_t mt_cursor_take(mt_cursor *c, size_t n); /* little-endian */
uint64_t mt_cursor_uleb(mt_cursor *c);
int64_t mt_cursor_sleb(mt_cursor *c);
void mt_cursor_skip(mt_cursor *c, uint64_t n);

/* A pointer in one of the encodings of LSB 5, 10.5.1 that linkers write. */
uintptr_t mt_cursor_encoded(mt_cursor *c, uint8_t encoding);

/* What is common to functions (CIE), and what is said of one (FDE). */
typedef struct mt_cie {
    uint64_t code_align, return_register;
    int64_t data_align;
    uint8_t encoding; /* of places in its FDEs */
    bool signal;      /* a signal frame */
    bool augmented;
    mt_cursor program;
} mt_cie;

typedef struct mt_fde {
    mt_cie about;
    uintptr_t begin, end;
    mt_cursor program;
} mt_fde;

/* The entry for the function that holds this place; false if there is none. The object must
 * stay mapped: it does where the place is on the calling thread's own stack. */
bool mt_eh_frame_find(const mt_eh_object *object, uintptr_t place, mt_fde *fde);

#endif
