# How every target of the project is compiled, and the two functions that declare one:
#   triptych_library(NAME SOURCES ... LIBS ... [TORCH] [PLAIN ...] [ALONE ...])   static library; TORCH = ATen headers,
#     precompiled
#   triptych_test(NAME SOURCES ... LIBS ... [TORCH] [PLAIN ...] [LABELS ...] [RANKS n])   GoogleTest binary, run by
#     mpirun if RANKS
# PLAIN are sources of a TORCH target that see no tensor: the precompiled header would cost them 3 s each. ALONE are
# sources with compile options of their own.

option(TRIPTYCH_SANITIZE "Address and undefined-behaviour sanitizers" OFF)
option(TRIPTYCH_LIBFUZZER "Fuzz targets for libFuzzer (clang++)" OFF)
set(TRIPTYCH_BATCH 1 CACHE STRING "Sources that are compiled together, so that they share headers and templates")

# -fPIC by hand for everything: CMake gives executables -fPIE, and GCC then ignores the shared precompiled header.
add_compile_options(-fPIC -Winvalid-pch)
add_compile_definitions(OMPI_SKIP_MPICXX=1)
if(TRIPTYCH_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
if(TRIPTYCH_LIBFUZZER)
  add_compile_options(-fsanitize=fuzzer-no-link)  # the libraries too: libFuzzer sees only what is instrumented
endif()
set(TRIPTYCH_WARNINGS -Wall -Wextra -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The compiler that counts. g++ 12 reports -Wrestrict inside std::string's operator+ at -O2 (GCC bug 105651).
  list(APPEND TRIPTYCH_WARNINGS -Werror -Wno-restrict)
  if(TRIPTYCH_BATCH GREATER 1)  # g++ takes a source that is included for a header
    list(APPEND TRIPTYCH_WARNINGS -Wno-subobject-linkage)
  endif()
endif()

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

# A test file takes the compiler longer than it ever runs.
set(TRIPTYCH_TEST_OPTIMISATION -O0)

# Precompiled headers: with <ATen/ATen.h> a file costs 3 s instead of 15 (<torch/torch.h> would cost 7). What is in one
# costs every user templates to instantiate, so nothing goes in that few use. The options of a header and of its users
# must be the same.
function(triptych_precompiled name)
  cmake_parse_arguments(P "" "" "HEADERS;LIBS;OPTIONS" ${ARGN})
  file(WRITE "${CMAKE_BINARY_DIR}/pch/${name}.cpp" "")
  add_library(${name} OBJECT "${CMAKE_BINARY_DIR}/pch/${name}.cpp")
  target_link_libraries(${name} PUBLIC ${P_LIBS})
  target_compile_options(${name} PRIVATE -fpch-preprocess ${P_OPTIONS})
  target_precompile_headers(${name} PRIVATE ${P_HEADERS})
endfunction()
triptych_precompiled(triptych_pch HEADERS <ATen/ATen.h> LIBS LibTorch::torch_cpu)
if(TRIPTYCH_TESTS)
  triptych_precompiled(triptych_test_pch HEADERS <gmock/gmock.h> <gtest/gtest.h> LIBS GTest::gmock
    OPTIONS ${TRIPTYCH_TEST_OPTIMISATION})
  triptych_precompiled(triptych_torch_test_pch HEADERS <ATen/ATen.h> <gmock/gmock.h> <gtest/gtest.h>
    LIBS LibTorch::torch_cpu GTest::gmock OPTIONS ${TRIPTYCH_TEST_OPTIMISATION})
endif()

# Batches of about TRIPTYCH_BATCH sources: files that include them. Not CMake's own unity build, because that writes the
# clone's path into them, and ccache would not know them in another clone.
function(triptych_batches result name)
  list(LENGTH ARGN count)
  math(EXPR batches "(${count} + ${TRIPTYCH_BATCH} - 1) / ${TRIPTYCH_BATCH}")
  if(TRIPTYCH_BATCH LESS_EQUAL 1 OR batches EQUAL 0)
    set(${result} ${ARGN} PARENT_SCOPE)
    return()
  endif()
  file(RELATIVE_PATH folder "${CMAKE_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  set(files "")
  foreach(batch RANGE 1 ${batches})
    math(EXPR first "(${batch} - 1) * ${count} / ${batches}")
    math(EXPR length "${batch} * ${count} / ${batches} - ${first}")
    list(SUBLIST ARGN ${first} ${length} sources)
    list(TRANSFORM sources REPLACE "(.+)" "#include \"${folder}/\\1\"")
    list(JOIN sources "\n" text)
    set(file "${CMAKE_CURRENT_BINARY_DIR}/${name}_${batch}.cpp")
    file(CONFIGURE OUTPUT "${file}" CONTENT "${text}\n")
    list(APPEND files "${file}")
  endforeach()
  set(${result} ${files} PARENT_SCOPE)
endfunction()

function(triptych_settings target pch)
  target_include_directories(${target} PUBLIC "${CMAKE_SOURCE_DIR}")
  target_compile_options(${target} PRIVATE ${TRIPTYCH_WARNINGS})
  if(pch)
    target_compile_options(${target} PRIVATE -fpch-preprocess)
    target_precompile_headers(${target} REUSE_FROM ${pch})
  endif()
endfunction()

function(triptych_library name)
  cmake_parse_arguments(L "TORCH" "" "SOURCES;PLAIN;ALONE;LIBS" ${ARGN})
  triptych_batches(sources ${name} ${L_SOURCES})
  triptych_batches(plain ${name}_plain ${L_PLAIN})
  add_library(${name} STATIC ${sources} ${plain} ${L_ALONE})
  set_source_files_properties(${plain} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  if(L_TORCH)
    triptych_settings(${name} triptych_pch)
    target_link_libraries(${name} PUBLIC LibTorch::torch_cpu)
  else()
    triptych_settings(${name} "")
  endif()
  target_link_libraries(${name} PUBLIC ${L_LIBS})
endfunction()

function(triptych_test name)
  cmake_parse_arguments(T "TORCH" "RANKS" "SOURCES;PLAIN;LIBS;LABELS" ${ARGN})
  triptych_batches(sources ${name} ${T_SOURCES})
  add_executable(${name} ${sources})
  if(T_PLAIN)
    triptych_batches(plain ${name}_plain ${T_PLAIN})
    add_library(${name}_plain OBJECT ${plain})
    triptych_settings(${name}_plain triptych_test_pch)
    target_compile_options(${name}_plain PRIVATE ${TRIPTYCH_TEST_OPTIMISATION})
    target_link_libraries(${name}_plain PRIVATE triptych_test_paths ${T_LIBS} GTest::gtest GTest::gmock)
    target_link_libraries(${name} PRIVATE ${name}_plain)
  endif()
  if(T_TORCH)
    triptych_settings(${name} triptych_torch_test_pch)
    target_link_libraries(${name} PRIVATE LibTorch::torch_cpu)
  else()
    triptych_settings(${name} triptych_test_pch)
  endif()
  target_compile_options(${name} PRIVATE ${TRIPTYCH_TEST_OPTIMISATION})
  target_link_libraries(${name} PRIVATE triptych_test_paths ${T_LIBS} GTest::gtest_main GTest::gmock)
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
