/* debug_file: where the debug information of a stripped object lies.
 *
 *   by build id            <root>/.build-id/ab/cdef....debug
 *   by name                .gnu_debuglink, a file name and a CRC-32: beside the object, in
 *                          .debug/ there, and under <root> + the object's folder
 *   inside                 .gnu_debugdata: a small ELF file, compressed with xz
 *   shared                 .gnu_debugaltlink: what dwz moved into a file that several debug
 *                          files share
 *
 * The roots are the folders of the search path (between colons; absolute ones count), then
 * /usr/lib/debug: the layout of GDB's manual, "Debugging Information in Separate Files". A
 * file is taken only if it belongs to the object: same build id or, where one of the two has
 * none, the CRC that the object demands. Nothing is ever asked of the network.
 */
#ifndef MT_NAME_DEBUG_FILE_H
#define MT_NAME_DEBUG_FILE_H

#include "elf_file.h"

/* Opens the separate debug file of `object`, the file at `path`. `object` may be NULL, for a
 * file that is gone: the build id in `identity` is then all there is to go by (`identity` may
 * be NULL if `object` is not). 0, or -1 if there is none. Reads the whole debug file where a
 * CRC must decide: some 3 ns a byte. */
int mt_debug_file_find(mt_elf *found, const mt_elf *object, const char *path,
                       const mt_elf_identity *identity, const char *search_path);

/* Unpacks the file inside `object`, at most 256 MiB, with liblzma.so.5, which it loads, and
 * no malloc. 0, or -1 if there is none, it is damaged, or liblzma is not installed. */
int mt_debug_file_embedded(mt_elf *found, const mt_elf *object);

/* Opens the file that `debug` shares with others. 0, or -1 if there is none. */
int mt_debug_file_shared(mt_elf *found, const mt_elf *debug, const char *search_path);

#endif
