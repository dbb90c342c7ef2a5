// A workload of bin/bench: C++ containers of strings, built up and torn down. Prints
// nanoseconds per element, the best of several repetitions.
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

static double once() {
    auto begin = std::chrono::steady_clock::now();
    const int n = 40000;
    {
        std::map<std::string, std::vector<int>> sorted;
        std::unordered_map<int, std::string> hashed;
        for (int i = 0; i < n; i++) {
            sorted["a key that is too long to be inline " + std::to_string(i * 7919 % n)]
                .push_back(i);
            hashed[i] = "another string that is too long " + std::to_string(i);
        }
        for (int i = 0; i < n; i += 2) hashed.erase(i);
    }
    std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    return took.count() / n;
}

int main() {
    double best = 1e18;
    for (int i = 0; i < 12; i++) {
        double ns = once();
        if (ns < best) best = ns;
    }
    std::printf("%.4f\n", best);
}
