// How the program ends when something is wrong: one line on stderr, said once for the whole job, and the exit code of
// the cause.
#pragma once
#include <exception>

namespace triptych {

/// Prints the exception and ends this process, and the whole job if there are other ranks. An error that all ranks
/// agree on is printed by rank 0 alone (by another only if rank 0 did not meet it); any other by the rank that met it,
/// with its rank and host. The exit code is the error's; 1 for what is not one of our errors. Never returns.
[[noreturn]] void end_with(const std::exception& error);

}  // namespace triptych
