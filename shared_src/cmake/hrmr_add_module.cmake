# SPDX-License-Identifier: MIT
#
# hrmr_add_module(NAME source...)
#
# One HRMR module: builds NAME.so from the C and C++ sources. It is put where
# CMAKE_LIBRARY_OUTPUT_DIRECTORY says, or else into `modules` in the build folder. NAME is a target
# like any other: target_link_libraries(NAME PRIVATE ...) adds what the module needs.
function(hrmr_add_module NAME)
  add_library(${NAME} MODULE ${ARGN})
  target_link_libraries(${NAME} PRIVATE hrmr::sdk)
  # No soname: two generations of a module must never be taken for the same library.
  set_target_properties(${NAME} PROPERTIES
    PREFIX "" OUTPUT_NAME "${NAME}" SUFFIX ".so" NO_SONAME ON
    POSITION_INDEPENDENT_CODE ON
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(NOT CMAKE_C_STANDARD)
    set_target_properties(${NAME} PROPERTIES
      C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
  endif()
  if(NOT CMAKE_CXX_STANDARD)
    set_target_properties(${NAME} PROPERTIES
      CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF)
  endif()
  if(NOT CMAKE_LIBRARY_OUTPUT_DIRECTORY)
    set_target_properties(${NAME} PROPERTIES
      LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/modules")
  endif()

  # With unique symbols dlclose would do nothing, and the old code would stay (g++ only).
  # A build without a type is optimised all the same, as `hrmr build` does.
  target_compile_options(${NAME} PRIVATE
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>
    "$<$<CONFIG:>:-O2;-g>")
  target_link_options(${NAME} PRIVATE -Wl,-z,now)
  # A missing symbol is an error of the build, not of the load. (The run-time library of Clang's
  # sanitizers is in the executable only.)
  if(NOT ("${CMAKE_C_COMPILER_ID} ${CMAKE_CXX_COMPILER_ID}" MATCHES "Clang"
          AND "${CMAKE_C_FLAGS} ${CMAKE_CXX_FLAGS}" MATCHES "-fsanitize="))
    target_link_options(${NAME} PRIVATE -Wl,--no-undefined)
  endif()
endfunction()
