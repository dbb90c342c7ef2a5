/* Templates of the library's and of our own, inlined into each other. */
#include <memory>
#include <vector>

template <typename T> struct Cache {
    std::vector<T> values;
    __attribute__((noinline)) void *fill(unsigned long n) {
        values.resize(n); // the line of the leak
        return values.data();
    }
};

extern "C" void *fixture_leak(unsigned long size) {
    auto *cache = new Cache<char>;
    return cache->fill(size);
}
