/* build_id: by what a linker tells apart the files that it makes: a note in each (ld's
 * --build-id; the notes' layout: elf(5)).
 *
 * Notes may be anything, from a file or from memory. For hooks: no lock, no allocation.
 */
#ifndef MT_RECORD_BUILD_ID_H
#define MT_RECORD_BUILD_ID_H

#include <stddef.h>
#include <stdint.h>

enum { MT_BUILD_ID_MAX = 32 };

/* Copies the build id that stands among these notes, and returns its length; 0: there is none,
 * or a longer one. */
uint32_t mt_build_id_find(const void *notes, size_t bytes, uint8_t id[MT_BUILD_ID_MAX]);

#endif
