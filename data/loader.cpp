// Worker threads fill the rows of a few open batches; next() hands them out in order.
//
// The images of a batch are allocated once and rows are written where they stay. A worker takes the first row that
// nobody has taken; which thread makes a row cannot be seen in it, because a row is a pure function of its position.
#include "data/loader.h"

#include <ATen/ATen.h>
#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "core/base/log.h"
#include "data/formats/printable.h"
#include "data/picture_memory.h"
#include "data/row_maker.h"

namespace triptych {
namespace {

/// One batch of this rank while it is made.
struct Slot {
  Slot(std::int64_t first, std::int64_t rows_, const BatchSpec& spec, PictureMemory& memory)
      : first_position(first), rows(rows_), with_phrases(spec.phrases), phrases(rows_), bad(rows_) {
    const at::TensorOptions whole(at::kLong);
    images = memory.take({rows, spec.views, spec.image_size, spec.image_size, 3});
    if (spec.text) tokens = at::empty({rows, spec.captions, spec.form.context}, whole);
    labels = at::empty({rows}, whole);
    sample_ids = at::empty({rows}, whole);
  }

  RowTarget target(std::int64_t row) {
    const auto pixels = images.numel() / rows, words = tokens.defined() ? tokens.numel() / rows : 0;
    auto* const first_word = tokens.defined() ? tokens.mutable_data_ptr<std::int64_t>() : nullptr;
    return {{images.mutable_data_ptr<std::uint8_t>() + row * pixels, static_cast<std::size_t>(pixels)},
            {first_word + row * words, static_cast<std::size_t>(words)},
            phrases[static_cast<std::size_t>(row)],
            labels.mutable_data_ptr<std::int64_t>()[row],
            sample_ids.mutable_data_ptr<std::int64_t>()[row]};
  }

  Batch piece(std::int64_t begin, std::int64_t count) {
    Batch batch;
    batch.images = images.narrow(0, begin, count);
    if (tokens.defined()) batch.tokens = tokens.narrow(0, begin, count);
    batch.labels = labels.narrow(0, begin, count);
    if (other_labels.defined()) {
      batch.other_labels = other_labels.narrow(0, begin, count);
      batch.mix_weights = mix_weights.narrow(0, begin, count);
    }
    if (with_phrases) batch.phrases = phrase_table(begin, count);
    batch.sample_ids = sample_ids.narrow(0, begin, count);
    batch.first_position = first_position + begin;
    for (auto row = begin; row < begin + count; ++row) {
      auto& list = bad[static_cast<std::size_t>(row)];
      batch.bad.insert(batch.bad.end(), list.begin(), list.end());
    }
    return batch;
  }

  at::Tensor phrase_table(std::int64_t begin, std::int64_t count) const {
    std::vector<std::int64_t> numbers;
    for (std::int64_t row = 0; row < count; ++row)
      for (const auto& phrase : phrases[static_cast<std::size_t>(begin + row)])
        numbers.insert(numbers.end(), {row, phrase.text, phrase.pieces.begin, phrase.pieces.end});
    return at::tensor(numbers, at::kLong).view({-1, 4});
  }

  /// Mixes the rows of each micro-batch when all are there.
  void mix(const RowMaker& maker, std::int64_t micro_batch) {
    other_labels = at::empty_like(labels);
    mix_weights = at::empty({rows}, at::kFloat);
    const auto bytes = static_cast<std::size_t>(images.numel() / rows * micro_batch);
    const auto* const own = labels.const_data_ptr<std::int64_t>();
    for (std::int64_t begin = 0; begin < rows; begin += micro_batch) {
      auto* const pixels = images.select(0, begin).mutable_data_ptr<std::uint8_t>();
      const auto plan = maker.mix(first_position + begin, micro_batch, {pixels, bytes});
      mix_weights.narrow(0, begin, micro_batch).fill_(plan.weight);
      for (std::int64_t row = 0; row < micro_batch; ++row)
        other_labels.mutable_data_ptr<std::int64_t>()[begin + row] =
            own[begin + plan.partner[static_cast<std::size_t>(row)]];
    }
  }

  std::int64_t first_position, rows;
  at::Tensor images, tokens, labels, other_labels, mix_weights, sample_ids;
  bool with_phrases;
  std::vector<std::vector<PhrasePlace>> phrases;  // [row]
  std::vector<std::vector<BadRecord>> bad;        // [row]
  // Guarded by the loader's mutex:
  std::int64_t taken = 0, made = 0;
  std::set<std::int64_t> in_work;  // rows that a worker makes now
  bool done = false;
  std::int64_t failed_row = 0;  // the lowest row that threw `failure`
  std::exception_ptr failure;
};

/// Blocks all signals while it lives: threads made meanwhile leave signals to the main thread.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

void check_part(const LoaderPart& part) {
  const bool sound = part.size >= 1 && part.rank >= 0 && part.rank < part.size && part.local_batch >= 1 &&
                     part.micro_batch >= 1 && part.local_batch % part.micro_batch == 0;
  if (!sound)
    throw std::invalid_argument("LoaderPart: rank below size and micro_batch dividing local_batch are expected");
}

}  // namespace

SampleSchedule make_schedule(const CorpusSet& corpora, const DataConfig& config, std::uint64_t seed,
                             std::int64_t global_batch) {
  const auto lanes = config.shuffle.lanes;
  if (global_batch % lanes != 0) {
    throw ConfigError("data.shuffle.lanes: " + std::to_string(lanes) + " does not divide the global batch of " +
                      std::to_string(global_batch) + " rows; each lane fills an equal part of it");
  }
  std::vector<SampleSchedule::Source> sources;
  for (const auto& corpus : corpora.corpora()) {
    sources.push_back({corpus->shards(), corpus->size(), corpus->config().weight});
  }
  return SampleSchedule(std::move(sources), config.mixing, config.shuffle, seed,
                        {.lane_rows = global_batch / lanes, .single_source = config.batch_sources == "single"});
}

struct Loader::Impl {
  Impl(const CorpusSet& corpora, const DataConfig& config, const BatchSpec& spec_, std::uint64_t seed, LoaderPart part_)
      : sources(corpora),
        spec(spec_),
        part(part_),
        prefetch(config.prefetch),
        schedule(make_schedule(corpora, config, seed, part_.local_batch * part_.size)),
        rows(corpora, config, spec_, seed) {
    if (rows.mixes() && part.micro_batch < 2)
      throw ConfigError("data.augment.mix: a micro-batch of one row has nobody to mix with; raise train.micro_batch");
    start_workers(config.workers);
  }

  ~Impl() { stop_workers(); }

  void start_workers(std::int64_t count) {
    const SignalsBlocked blocked;
    try {
      for (std::int64_t i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      const auto running = std::to_string(threads.size());
      stop_workers();
      throw StorageError("the system gives only " + running + " of " + std::to_string(count) +
                         " decode threads: " + error.what() + "; lower data.workers or raise ulimit -u");
    }
  }

  void stop_workers() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    has_rows.notify_all();
    for (auto& thread : threads) thread.join();
    threads.clear();
  }

  std::int64_t global_batch() const { return part.local_batch * part.size; }

  /// Opens batches until `prefetch` are open. Allocates outside the lock.
  void open_slots() {
    while (static_cast<std::int64_t>(open_count()) < prefetch) {
      auto slot = std::make_shared<Slot>(opened_to + part.rank * part.local_batch, part.local_batch, spec, memory);
      opened_to += global_batch();
      {
        const std::lock_guard lock(mutex);
        slots.push_back(std::move(slot));
      }
      has_rows.notify_all();
    }
  }

  std::size_t open_count() {
    const std::lock_guard lock(mutex);
    return slots.size();
  }

  /// The first open batch with a row to make; nothing while there is none. Under the lock.
  std::shared_ptr<Slot> slot_with_rows() {
    for (auto& slot : slots) {
      if (slot->taken < slot->rows) return slot;
    }
    return nullptr;
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      std::shared_ptr<Slot> slot;
      has_rows.wait(lock, [&] { return stopping || (slot = slot_with_rows()) != nullptr; });
      if (stopping) return;
      const auto row = slot->taken++;
      const auto in_work = slot->in_work.insert(row).first;
      lock.unlock();
      std::exception_ptr failure;
      try {
        const auto position = slot->first_position + row;
        const FaultStep here(position / global_batch() + 1);
        rows.make(position, schedule.at(position), slot->target(row), slot->bad[static_cast<std::size_t>(row)]);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      slot->in_work.erase(in_work);
      if (failure && (!slot->failure || row < slot->failed_row)) {
        slot->failure = failure;
        slot->failed_row = row;
      }
      if (++slot->made < slot->rows) continue;
      if (rows.mixes() && !slot->failure) mix_unlocked(*slot, lock);
      slot->done = true;
      batch_done.notify_all();
    }
  }

  /// By the thread that made the last row; nobody else touches the slot until it is done.
  void mix_unlocked(Slot& slot, std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    std::exception_ptr failure;
    try {
      slot.mix(rows, part.micro_batch);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    slot.failure = failure;
  }

  /// "SHARD, key 'KEY'; ... " of the records that workers read now, three at most.
  std::string names_of(const Slot& slot, const std::set<std::int64_t>& in_work) const {
    constexpr std::size_t kMost = 3;
    std::string names;
    std::size_t named = 0;
    for (const auto row : in_work) {
      if (named++ == kMost) return names + "...; ";
      const auto draw = schedule.at(slot.first_position + row);
      const auto place = sources.corpora()[static_cast<std::size_t>(draw.corpus)]->place(draw.record);
      names += printable(place.shard) + ", key '" + printable(place.key) + "'; ";
    }
    return names;
  }

  std::shared_ptr<Slot> wait_for_front() {
    const auto start = Clock::now();
    std::unique_lock lock(mutex);
    const auto slot = slots.front();
    const auto done = [&] { return slot->done; };
    while (!batch_done.wait_for(lock, std::chrono::seconds(30), done)) {
      const auto made = slot->made;
      const auto in_work = slot->in_work;
      lock.unlock();  // a worker that can go on must not wait for the names
      log_warning("waiting for data: " + names_of(*slot, in_work) + "the batch at position " +
                  std::to_string(slot->first_position) + " has " + std::to_string(made) + " of " +
                  std::to_string(slot->rows) + " rows after " +
                  std::to_string(static_cast<std::int64_t>(seconds_since(start))) + " s");
      lock.lock();
    }
    times.wait_s = seconds_since(start);
    if (slot->failure) std::rethrow_exception(slot->failure);
    slots.pop_front();
    return slot;
  }

  void seek(std::int64_t position) {
    {
      const std::lock_guard lock(mutex);
      slots.clear();  // a worker inside one of them keeps it alive and then finds it gone
    }
    opened_to = position;
    started = true;
    open_slots();
  }

  const CorpusSet& sources;
  BatchSpec spec;
  LoaderPart part;
  std::int64_t prefetch;
  SampleSchedule schedule;
  RowMaker rows;
  // Used by the caller's thread only:
  std::int64_t opened_to = 0;  // position of the next global batch to open
  bool started = false;
  LoaderTimes times;
  PictureMemory memory;
  // Shared with the workers:
  std::mutex mutex;
  std::condition_variable has_rows, batch_done;
  std::deque<std::shared_ptr<Slot>> slots;
  bool stopping = false;
  std::vector<std::thread> threads;  // last: they use all of the above
};

Loader::Loader(const CorpusSet& corpora, const DataConfig& config, const BatchSpec& spec, std::uint64_t seed,
               LoaderPart part) {
  check_part(part);
  impl_ = std::make_unique<Impl>(corpora, config, spec, seed, part);
}

Loader::~Loader() = default;

std::vector<Batch> Loader::next() {
  auto& self = *impl_;
  if (!self.started) self.seek(0);
  const auto slot = self.wait_for_front();
  self.open_slots();
  std::vector<Batch> pieces;
  for (std::int64_t begin = 0; begin < slot->rows; begin += self.part.micro_batch) {
    pieces.push_back(slot->piece(begin, self.part.micro_batch));
  }
  return pieces;
}

void Loader::seek(std::int64_t position) {
  if (position < 0) throw std::out_of_range("position " + std::to_string(position));
  impl_->seek(position);
}

LoaderTimes Loader::times() const {
  return impl_->times;
}

StageTimes Loader::stage_times() const {
  return impl_->rows.times();
}

const SampleSchedule& Loader::schedule() const {
  return impl_->schedule;
}

}  // namespace triptych
