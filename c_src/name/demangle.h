/* demangle: the names of C++ (Itanium ABI) and Rust (v0, legacy) as their programmers wrote
 * them, by libiberty.
 *
 * Names come from other people's files and may be hostile. libiberty would print 151 MB for a
 * name of 219 bytes, and not end at all for others; here a name's output is cut at the caller's
 * room, and names with absurd binders (Rust) or packs (C++) are refused. It may use some 400
 * KiB of stack: call it on a thread that has a megabyte.
 */
#ifndef MT_NAME_DEMANGLE_H
#define MT_NAME_DEMANGLE_H

#include <stddef.h>

/* Writes the plain form of `name` to `out` (ending in 0) and returns its length; 0 if the name
 * is not mangled, damaged, refused, or longer than `room` - 1. Any thread; keeps nothing. */
size_t mt_demangle(const char *name, char *out, size_t room);

#endif
