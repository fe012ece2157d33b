// A few threads that share the pieces of one loop.
//
// A loop ends when its pieces are done, not when every thread has come: a thread that the system keeps from running
// delays nobody, unless it holds a piece. So a step on a busy machine is about as fast as its free cores.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace antiphon {

class ThreadPool {
public:
    // Calls work(i) for each i in [0, pieces), in any order, on up to `threads` threads, this one among them.
    template <class Work>
    void run(int64_t threads, int64_t pieces, const Work& work) {
        std::unique_lock<std::mutex> alone(busy_, std::defer_lock);
        if (threads <= 1 || pieces <= 1 || pieces > kMostPieces || !alone.try_lock()) {
            for (int64_t i = 0; i < pieces; ++i) work(i);
            return;
        }
        grow(threads - 1);
        call_ = [](const void* context, int64_t i) { (*static_cast<const Work*>(context))(i); };
        context_ = &work;
        helpers_ = threads - 1;
        undone_.store(pieces, std::memory_order_relaxed);
        const uint64_t loop = (left_.load(std::memory_order_relaxed) | kMostPieces) + 1;  // the next one's number
        left_.store(loop + static_cast<uint64_t>(pieces), std::memory_order_seq_cst);
        if (asleep_.load(std::memory_order_seq_cst) > 0) {
            std::lock_guard<std::mutex> lock(mutex_);
            wake_.notify_all();
        }
        while (take()) {}
        for (int spins = 0; undone_.load(std::memory_order_acquire) > 0; ++spins) {
            if (spins < kSpins) pause();
            else std::this_thread::yield();
        }
    }

private:
    static constexpr int64_t kMostPieces = 0xFFFFFF;  // the low 24 bits of `left_`
    static constexpr int kSpins = 2000;
    static constexpr auto kAwake = std::chrono::microseconds(200);  // longer than the pauses within a step

    static void pause() {
#if defined(__x86_64__)
        _mm_pause();
#endif
    }

    // Does one piece of the loop under way; false if none is left.
    bool take() {
        uint64_t left = left_.load(std::memory_order_acquire);
        do {
            if ((left & kMostPieces) == 0) return false;
        } while (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel));
        // A piece is ours, so the loop cannot end, and nothing of it can change, before we are done.
        call_(context_, static_cast<int64_t>(left & kMostPieces) - 1);
        undone_.fetch_sub(1, std::memory_order_release);
        return true;
    }

    void grow(int64_t helpers) {
        for (; started_ < helpers; ++started_) {
            std::thread([this, id = started_] { help(id); }).detach();
        }
    }

    void help(int64_t id) {
        auto since = std::chrono::steady_clock::now();
        while (true) {
            const bool wanted = id < helpers_.load(std::memory_order_relaxed);
            if (wanted && take()) {
                while (take()) {}
                since = std::chrono::steady_clock::now();
            } else if (wanted && std::chrono::steady_clock::now() - since < kAwake) {
                pause();
            } else {
                std::unique_lock<std::mutex> lock(mutex_);
                asleep_.fetch_add(1, std::memory_order_seq_cst);
                if ((left_.load(std::memory_order_seq_cst) & kMostPieces) == 0 || !wanted) wake_.wait(lock);
                asleep_.fetch_sub(1, std::memory_order_seq_cst);
                since = std::chrono::steady_clock::now();
            }
        }
    }

    std::mutex busy_;  // held by the thread whose loop it is; another's runs by itself
    alignas(64) std::atomic<uint64_t> left_{0};  // the loop's number, and pieces that nobody has taken
    alignas(64) std::atomic<int64_t> undone_{0};
    void (*call_)(const void*, int64_t) = nullptr;
    const void* context_ = nullptr;
    std::atomic<int64_t> helpers_{0};
    int64_t started_ = 0;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<int> asleep_{0};
};

}  // namespace antiphon
