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
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False positives of g++ 12 at -O2 on inlined standard containers and coroutines.
  target_compile_options(sheaf_compiler INTERFACE -Wno-null-dereference -Wno-maybe-uninitialized
    -Wno-mismatched-new-delete)
endif()
# The build id is part of the hello: two builds never share a job.
add_link_options(-Wl,--build-id=sha1)
