/* shorten: long names of functions, as C++ and Rust have them, without what says least.
 *
 *   std::vector<std::pair<int, std::string>, ...>::push_back(std::pair<int, std::string>&&)
 *   std::vector<...>::push_back(std::pair<...>&&)
 *   std::vector<...>::push_back(...)
 */
#ifndef MT_CTL_SHORTEN_H
#define MT_CTL_SHORTEN_H

#include <stddef.h>

/* Writes to `out` what fits `room`, if that can be had by leaving out template arguments, then
 * the function's; else it is still as short as that made it, and its middle is cut out. Fit for
 * a terminal: plain.h. */
void mt_shorten(char *out, size_t room, const char *name);

#endif
