// The typed errors of the program. A message says what happened, where, what was got, what was expected and what to do;
// only main() prints it and turns its code into the exit status.
#pragma once
#include <stdexcept>
#include <string>

namespace triptych {

/// Exit status of the program; mpirun returns the one of the cause.
enum class ExitCode : int {
  kDone = 0,
  kUsage = 2,         ///< command line or configuration
  kData = 3,          ///< data beyond its error budget
  kNoCheckpoint = 4,  ///< no usable checkpoint
  kLostPeer = 5,      ///< a rank is gone or did not answer in time
  kNotFinite = 6,     ///< too many steps in a row without a finite gradient, or weights that are not finite
  kStorage = 7,       ///< the disk refused a write
  kPreempted = 75,    ///< asked to stop; a checkpoint was saved
};

/// Base of every error this program throws on purpose.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& what) : std::runtime_error(what), code_(code) {}
  ExitCode code() const { return code_; }
  /// True when every rank throws the same error at the same place, so that one of them may speak for all.
  virtual bool agreed() const { return false; }

 private:
  ExitCode code_;
};

/// A wrong command line, configuration or combination of both. The same on every rank.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& what) : Error(ExitCode::kUsage, what) {}
  bool agreed() const override { return true; }
};

/// One record, shard or picture that cannot be used. Caught by the loader, which replaces the record.
class DataError : public Error {
 public:
  explicit DataError(const std::string& what) : Error(ExitCode::kData, what) {}
};

/// More bad records than the error budget allows. Agreed by all ranks at a step boundary.
class DataBudgetError : public Error {
 public:
  explicit DataBudgetError(const std::string& what) : Error(ExitCode::kData, what) {}
  bool agreed() const override { return true; }
};

/// No checkpoint that can be loaded, or one that does not fit the model.
class CheckpointError : public Error {
 public:
  explicit CheckpointError(const std::string& what) : Error(ExitCode::kNoCheckpoint, what) {}
};

/// A checkpoint of which a byte is not what was written, or that is not whole: an older one may serve.
class DamagedCheckpoint : public CheckpointError {
 public:
  using CheckpointError::CheckpointError;
};

/// A collective failed or timed out.
class PeerError : public Error {
 public:
  explicit PeerError(const std::string& what) : Error(ExitCode::kLostPeer, what) {}
};

/// Loss or gradients stayed non-finite. Agreed by all ranks.
class NotFiniteError : public Error {
 public:
  explicit NotFiniteError(const std::string& what) : Error(ExitCode::kNotFinite, what) {}
  bool agreed() const override { return true; }
};

/// A file could not be written, synced or renamed.
class StorageError : public Error {
 public:
  explicit StorageError(const std::string& what, int error_number = 0)
      : Error(ExitCode::kStorage, what), error_number_(error_number) {}
  int error_number() const { return error_number_; }  ///< errno, or 0 where the system reported none

 private:
  int error_number_;
};

}  // namespace triptych
