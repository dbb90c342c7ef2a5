/* loader: two functions of the dynamic linker that we stand in front of. Nothing to call here:
 * they are exported under their own names, and pass through to the next of that name.
 *
 *   dl_iterate_phdr   nothing is recorded in a callback where stacks come from libunwind
 *   dlclose           rules of objects that may be gone are looked up anew
 */
#ifndef MT_HOOK_LOADER_H
#define MT_HOOK_LOADER_H
#endif
