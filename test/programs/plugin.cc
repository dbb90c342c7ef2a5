// A C++ plugin of a C program: it throws and catches, and unwinds through other frames.
#include <stdexcept>
#include <vector>

struct counted {
    static int alive;
    counted() { alive++; }
    counted(const counted &) { alive++; }
    ~counted() { alive--; }
};
int counted::alive = 0;

static int deep(int n) {
    counted c;
    std::vector<int> v(100, n);
    if (n == 0) throw std::runtime_error("the bottom");
    return deep(n - 1) + v[n];
}

extern "C" int plugin_throw(int n) {
    try {
        return deep(n);
    } catch (const std::exception &e) {
        return counted::alive == 0 && e.what()[0] == 't' ? 1 : 0;
    }
}

extern "C" int plugin_alive(void) {
    return counted::alive;
}

extern "C" void plugin_call(void (*f)(void)) {
    counted c;
    std::vector<int> v(10, 1);
    f();
}
