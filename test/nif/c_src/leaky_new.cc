// The C++ half of the leaking NIFs: operator new, plain and aligned.
#include <cstddef>
#include <new>

namespace leaky {
struct alignas(256) wide {
    char bytes[256];
};
__attribute__((noinline)) char *make(std::size_t size) {
    return new char[size];
}
__attribute__((noinline)) wide *make_aligned(std::size_t size) {
    return new wide[size / sizeof(wide) + 1];
}
} // namespace leaky

extern "C" void *leaky_new(std::size_t size) {
    void *p = leaky::make(size);
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}

extern "C" void *leaky_new_aligned(std::size_t size) {
    void *p = leaky::make_aligned(size);
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}
