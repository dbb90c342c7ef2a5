/* symbols: the functions that an ELF file names, in .symtab and .dynsym (System V gABI,
 * chapter 4): static functions too, unless the file was stripped.
 *
 * The file is read, not mapped: one that is truncated meanwhile would fault. It is believed
 * only if it is the one that is mapped: same build id or, where the object has none, the same
 * program headers. Whatever is wrong with a file, its symbols are then just unknown.
 */
#ifndef MT_NAME_SYMBOLS_H
#define MT_NAME_SYMBOLS_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MT_BUILD_ID_MAX = 32 };

typedef struct mt_elf_identity {
    uint64_t headers; /* mt_elf_hash_headers */
    uint32_t build_id_bytes;
    uint8_t build_id[MT_BUILD_ID_MAX];
} mt_elf_identity;

typedef struct mt_symbol {
    uint64_t address, size; /* as in the file */
    const char *name;
    uint32_t rank; /* of several names for one place the lowest is shown */
} mt_symbol;

typedef struct mt_symbols {
    mt_symbol *symbol; /* sorted by address, then rank */
    size_t n, room;
    char *strings[2]; /* copies of the string tables */
    size_t string_bytes[2];
} mt_symbols;

/* A hash of what program headers say about a file's layout. */
uint64_t mt_elf_hash_headers(const ElfW(Phdr) * headers, size_t n);

/* Finds the GNU build id in a note segment, if it is there and fits. */
void mt_elf_build_id(const void *notes, size_t bytes, mt_elf_identity *identity);

/* Reads the symbols of the file at `path`. 0, or -1, and no symbols, if it is not there, not a
 * regular file, damaged, for another machine, or not `expected` (NULL: any). */
int mt_symbols_read(mt_symbols *symbols, const char *path, const mt_elf_identity *expected);

/* The name of the function that holds the address, or NULL. The nearest symbol below does not
 * do: in a stripped file that would be some other function. */
const char *mt_symbols_find(const mt_symbols *symbols, uint64_t address);

void mt_symbols_free(mt_symbols *symbols);

#endif
