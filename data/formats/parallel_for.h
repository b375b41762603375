// A loop over indices on a few threads, for work that waits on disks or decodes pictures.
#pragma once
#include <cstdint>
#include <functional>

namespace triptych {

/// Calls body(0) .. body(count - 1), each once, on up to `threads` threads. When some throw, no further index is
/// started and the exception of the lowest index that threw is thrown.
void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& body);

}  // namespace triptych
