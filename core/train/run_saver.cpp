// What all ranks do around rank 0's writer.
#include "core/train/run_saver.h"

#include <utility>

#include "core/base/errors.h"
#include "core/train/agreement.h"

namespace triptych {

RunSaver::RunSaver(Collectives& comm, std::unique_ptr<CheckpointWriter> writer, std::int64_t max_failures)
    : comm_(comm), writer_(std::move(writer)), max_failures_(max_failures) {}

void RunSaver::wait() {
  agreed_at_length(comm_, [&] {
    if (writer_) writer_->wait();
  });
  busy_ = false;
}

void RunSaver::save(const Stage& stage) {
  if (busy_) wait();
  if (writer_) writer_->save(stage);
  busy_ = true;
}

void RunSaver::wait_for_copy() {
  if (writer_) writer_->wait_for_copy();
}

RunSaver::Look RunSaver::look() {
  if (!writer_) return {};
  writer_->poll();
  return {!writer_->ready(), writer_->failures_in_a_row() >= max_failures_};
}

bool RunSaver::settled() {
  wait();
  return comm_.sum(static_cast<std::int64_t>(writer_ && writer_->failures_in_a_row() > 0)) == 0;
}

void RunSaver::fail() {
  on_root(comm_, [&]() -> std::string {
    throw StorageError("no checkpoint could be saved " + std::to_string(writer_->failures_in_a_row()) +
                       " times in a row: " + writer_->last_error() + ". Make room, then run the same command again");
  });
  throw StorageError("unreachable");  // on_root throws on every rank
}

void RunSaver::wait_at_most(double seconds) {
  if (writer_) writer_->wait_at_most(seconds);
}

}  // namespace triptych
