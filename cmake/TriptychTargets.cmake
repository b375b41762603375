# How every target of the project is compiled, and the two functions that declare one:
#   triptych_library(NAME SOURCES ... LIBS ... [TORCH])   static library; TORCH = ATen headers, precompiled
#   triptych_test(NAME SOURCES ... LIBS ... [TORCH] [LABELS ...] [RANKS n])   GoogleTest binary, run by mpirun if RANKS

option(TRIPTYCH_SANITIZE "Address and undefined-behaviour sanitizers" OFF)

# -fPIC by hand for everything: CMake gives executables -fPIE, and GCC then ignores the shared precompiled header.
add_compile_options(-fPIC -Winvalid-pch)
add_compile_definitions(OMPI_SKIP_MPICXX=1)
if(TRIPTYCH_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
# g++ 12 reports -Wrestrict inside std::string's operator+ at -O2 (GCC bug 105651).
set(TRIPTYCH_WARNINGS -Wall -Wextra -Wshadow -Werror -Wno-restrict)

# The torch wheel's libraries are found by DT_RPATH: RUNPATH does not serve the libraries that our libraries need.
set(CMAKE_BUILD_RPATH ${LIBTORCH_RUNTIME_DIRS})
add_link_options(LINKER:--disable-new-dtags)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # base_dir makes paths relative, so that a second clone hits; the sloppiness makes users of the precompiled header
  # cacheable (with -fpch-preprocess) although a fresh clone or wheel has new time stamps.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
endif()

# One precompiled <ATen/ATen.h>: a file then costs 2-3 s instead of 15. <torch/torch.h> would cost 7 s a file.
file(WRITE "${CMAKE_BINARY_DIR}/pch/pch.cpp" "")
add_library(triptych_pch OBJECT "${CMAKE_BINARY_DIR}/pch/pch.cpp")
target_link_libraries(triptych_pch PUBLIC LibTorch::torch_cpu)
target_precompile_headers(triptych_pch PRIVATE <ATen/ATen.h>)
target_compile_options(triptych_pch PRIVATE -fpch-preprocess)

function(triptych_settings target uses_torch)
  target_include_directories(${target} PUBLIC "${CMAKE_SOURCE_DIR}")
  target_compile_options(${target} PRIVATE ${TRIPTYCH_WARNINGS})
  if(uses_torch)
    target_link_libraries(${target} PUBLIC LibTorch::torch_cpu)
    target_compile_options(${target} PRIVATE -fpch-preprocess)
    target_precompile_headers(${target} REUSE_FROM triptych_pch)
  endif()
endfunction()

function(triptych_library name)
  cmake_parse_arguments(L "TORCH" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${L_SOURCES})
  triptych_settings(${name} "${L_TORCH}")
  target_link_libraries(${name} PUBLIC ${L_LIBS})
endfunction()

function(triptych_test name)
  cmake_parse_arguments(T "TORCH" "RANKS" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  triptych_settings(${name} "${T_TORCH}")
  # A test file takes the compiler longer than it ever runs: -O1 is a quarter quicker to build than -O2.
  target_compile_options(${name} PRIVATE -O1)
  target_compile_definitions(${name} PRIVATE TRIPTYCH_SOURCE_DIR="${CMAKE_SOURCE_DIR}" TRIPTYCH_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE ${T_LIBS} GTest::gtest_main GTest::gmock)
  if(T_RANKS)
    add_test(NAME ${name} COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${T_RANKS} $<TARGET_FILE:${name}>)
    set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  else()
    add_test(NAME ${name} COMMAND ${name})
  endif()
  # One thread a rank and a yielding MPI: ranks share the cores of a test machine.
  set_tests_properties(${name} PROPERTIES LABELS "${T_LABELS}" TIMEOUT 600 ENVIRONMENT
    "OMP_NUM_THREADS=1;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rmaps_base_oversubscribe=1;OMPI_MCA_mpi_yield_when_idle=1")
endfunction()
