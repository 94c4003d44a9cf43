# SPDX-License-Identifier: MIT
#
#   cmake_minimum_required(VERSION 3.24)
#   project(my_modules LANGUAGES CXX)
#   find_package(hrmr REQUIRED)
#   hrmr_add_module(hello hello.cpp)
#
# and then: cmake -S . -B build -Dhrmr_DIR="$(hrmr sdk --cmake-dir)" && cmake --build build
get_filename_component(hrmr_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../../include" ABSOLUTE)
if(NOT TARGET hrmr::sdk)
  add_library(hrmr::sdk INTERFACE IMPORTED)
  set_target_properties(hrmr::sdk PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${hrmr_INCLUDE_DIR}")
endif()
include("${CMAKE_CURRENT_LIST_DIR}/hrmr_add_module.cmake")
