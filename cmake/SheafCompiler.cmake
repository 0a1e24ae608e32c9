# How every target of ours is compiled. Bits must not depend on the machine that builds: any
# x86-64-v2 runs the program, wider kernels are chosen at run time, nothing is contracted.
add_library(sheaf_compiler INTERFACE)
target_include_directories(sheaf_compiler INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(sheaf_compiler INTERFACE
  -ffp-contract=off -fno-math-errno -fno-omit-frame-pointer
  -Wall -Wextra -Wpedantic -Werror -Wconversion -Wsign-conversion -Wshadow -Wnon-virtual-dtor
  -Woverloaded-virtual -Wcast-align -Wvla -Wimplicit-fallthrough -Wnull-dereference)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(sheaf_compiler INTERFACE -march=x86-64-v2)
endif()
if(SHEAF_SANITIZE)
  target_compile_options(sheaf_compiler INTERFACE -fsanitize=${SHEAF_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(sheaf_compiler INTERFACE -fsanitize=${SHEAF_SANITIZE})
  if(SHEAF_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Asio's fences, which ThreadSanitizer does not model; its locks beside them, it does.
    target_compile_options(sheaf_compiler INTERFACE -Wno-tsan)
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Where several sources are compiled as one (tests, sanitizers: a third of the time) what each of
  # them has for itself looks shared.
  target_compile_options(sheaf_compiler INTERFACE -Wno-subobject-linkage)
  # False positives of g++ 12 at -O2 on inlined standard containers and coroutines.
  target_compile_options(sheaf_compiler INTERFACE -Wno-null-dereference -Wno-maybe-uninitialized
    -Wno-mismatched-new-delete -Wno-restrict)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # The same at -O3: strings that are joined, vectors that grow (GCC bugs 105329 and 105651).
    target_compile_options(sheaf_compiler INTERFACE -Wno-restrict -Wno-stringop-overflow)
  endif()
endif()
# The build id is part of the hello: two builds never share a job.
add_link_options(-Wl,--build-id=sha1)
# Messages name our files as the repository does, not where it was built.
add_compile_options(-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
