// The log of the program: stderr and, once a run has a folder, its log.txt. stdout is for results and never touched
// here. Rank 0 speaks; the other ranks only from warnings on, with their rank in front.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace triptych {

/// Tells the log which rank this process is. Before the call it is rank 0 of 1. Several ranks may be threads of one
/// process in tests; then the last call counts.
void start_log(int rank, int ranks);
/// Adds `path` (appended to) as a second place. Throws StorageError.
void log_to_file(const std::filesystem::path& path);
/// Ends the second place: its folder may go away.
void close_log_file();

void log_info(const std::string& message);
void log_warning(const std::string& message);
void log_warnings(const std::vector<std::string>& messages);
void log_error(const std::string& message);

/// The progress line, rank 0 only. On a terminal it is redrawn in place, at most ten times a second, and log lines
/// appear above it. Elsewhere (a file, mpirun's pipe) it becomes a log line, at most one in 30 seconds. Never goes to
/// log.txt.
void show_progress(const std::string& line);
/// Ends the progress line, so that what follows starts on a line of its own.
void end_progress();

}  // namespace triptych
