// Errors that all ranks agree on: what one rank throws, every rank throws, so that none is left waiting in a
// collective.
#pragma once
#include <functional>
#include <string>

#include "distributed/collectives.h"

namespace triptych {

/// Runs `work` on this rank. If it threw an Error on any rank, every rank throws the first such rank's error, typed by
/// its exit code, with agreed() true. Any other exception leaves at once. Collective.
void agreed(Collectives& comm, const std::function<void()>& work);

/// The same for work that may last longer than a collective may wait, such as indexing a corpus: the ranks meet every
/// second until all are done. `work` runs in a thread of its own and calls no collective. Collective.
void agreed_at_length(Collectives& comm, const std::function<void()>& work);

/// Opens corpora: the first rank of each host goes first, because it may have to write index files, which the others
/// then read. However long it lasts. Collective.
void first_of_host_first(Collectives& comm, bool first_of_host, const std::function<void()>& open);

/// agreed_at_length() for work that only rank 0 does; its text reaches every rank. Collective.
std::string on_root(Collectives& comm, const std::function<std::string()>& work);

/// Refuses to go on when `fact` ("program", "configuration") differs between ranks: ConfigError naming both ranks.
/// Collective.
void check_same_everywhere(Collectives& comm, const std::string& fact, const std::string& value);

}  // namespace triptych
