// Open MPI's ranks of a host talk through files in /dev/shm, which stay for ever when mpirun is killed before it can
// clean up. A file whose name is gone lives as long as those who mapped it.
#pragma once
#include <string>

namespace triptych {

class SharedSegment {
 public:
  /// Takes the name of this process's own segment away. All ranks of the host must have mapped it: after a barrier that
  /// follows MPI_Init. Does nothing where there is none (one rank, another transport, another MPI).
  void hide();
  /// MPI_Finalize takes the name away too, and complains if it is not there: to be called right before it.
  void show() const;

 private:
  std::string path_;  // empty: nothing is hidden
};

}  // namespace triptych
