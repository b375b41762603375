# Sourced by the scripts beside it: where the repository is, how to fail, what the machine has. Defines, prints nothing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
VERSIONS=$ROOT/scripts/versions.txt

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Cores of this machine; nproc alone would answer OMP_NUM_THREADS, which is for the program.
cores() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# The comment block at the top of the calling script is its --help text.
show_help() { sed -n '2,/^$/ s/^# \{0,1\}//p' "$0"; }

# The fields after KIND of every line of that kind in versions.txt.
pins() { awk -v kind="$1" '$1 == kind { $1 = ""; print substr($0, 2) }' "$VERSIONS"; }

# The root of the CUDA 13 toolkit, or nothing: the torch wheel is built for CUDA 13 and fits no other.
cuda_toolkit() {
  local home=${CUDA_HOME:-/usr/local/cuda}
  [ -x "$home/bin/nvcc" ] && "$home/bin/nvcc" --version | grep -q 'release 13\.' && printf '%s\n' "$home"
}

# mpirun refuses root and more ranks than cores unless told. Ranks that share cores must not spin, and none is bound to one
# core: its loader threads need others.
mpi_environment() {
  if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
  export OMP_WAIT_POLICY=passive
}

# C++ and CUDA sources, each ended by a zero byte, relative to the root.
cpp_sources() {
  (cd "$ROOT" && find apps core distributed data losses tests -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 | sort -z)
}
