cmake_policy(VERSION 3.25)
# Writes HEADER with version, commit and compiler; leaves it alone if nothing changed.
execute_process(COMMAND git describe --always --dirty --abbrev=12
  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${HEADER} @ONLY CONTENT "#pragma once
#define SHEAF_VERSION \"@VERSION@\"
#define SHEAF_COMMIT \"@commit@\"
#define SHEAF_COMPILER \"@COMPILER@\"
")
