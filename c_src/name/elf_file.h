/* elf_file: one ELF file, read a piece at a time (System V gABI, chapter 4), and who it is.
 *
 * Files are read, never mapped: one that is truncated meanwhile would fault. They may be
 * anything: every offset and size is checked against the file before it is used. Pieces are
 * copies from name/memory.
 */
#ifndef MT_NAME_ELF_FILE_H
#define MT_NAME_ELF_FILE_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/build_id.h"

typedef struct mt_elf_identity {
    uint64_t headers; /* mt_elf_hash_headers */
    uint32_t build_id_bytes;
    uint8_t build_id[MT_BUILD_ID_MAX];
} mt_elf_identity;

/* An open file, or an image in memory. One thread at a time. */
typedef struct mt_elf {
    int fd;      /* -1: the image */
    char *image; /* from mt_memory_map(bytes), owned */
    uint64_t bytes;
    ElfW(Ehdr) head;
    ElfW(Shdr) * section; /* NULL: it has no usable section headers */
    uint64_t sections;
    char *names; /* of the sections, ending in a 0 of our own */
    uint64_t name_bytes;
    mt_elf_identity identity;
} mt_elf;

/* A hash of what program headers say about a file's layout. */
uint64_t mt_elf_hash_headers(const ElfW(Phdr) * headers, size_t n);

/* Same build id or, where `expected` has none, the same program headers. */
bool mt_elf_is(const mt_elf *f, const mt_elf_identity *expected);

/* Opens the file at `path` and reads its headers. 0, or -1 if it is not there, not a regular
 * file, or not an ELF file of this machine's class and byte order. Never waits, for a pipe
 * say. What has been opened is to be closed. */
int mt_elf_open(mt_elf *f, const char *path);

/* The same for an image in memory, which it takes over, also when it refuses it. */
int mt_elf_open_image(mt_elf *f, void *image, size_t bytes);

void mt_elf_close(mt_elf *f);

/* All `n` bytes at `offset`, or false. */
bool mt_elf_fetch(const mt_elf *f, uint64_t offset, void *to, uint64_t n);

/* A copy of `n` bytes at `offset`, with one more that is 0, or NULL; at most 512 MiB. To be
 * unmapped with n + 1. */
void *mt_elf_copy(const mt_elf *f, uint64_t offset, uint64_t n);

/* The section of that name whose bytes are in the file, or NULL. Compressed ones count. */
const ElfW(Shdr) * mt_elf_section(const mt_elf *f, const char *name);

/* Is there a section of that type whose bytes are in the file? */
bool mt_elf_has(const mt_elf *f, uint32_t type);

#endif
