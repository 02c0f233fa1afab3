# What every target of the project shares: language, warnings, sanitizers, and one way to declare a folder's library.
include(GNUInstallDirs)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# All programs lie side by side in the build tree, as the front looks for the others beside itself first.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(CCACHE ccache)
if(CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

set(NEROFS_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

add_library(nerofs_flags INTERFACE)
target_include_directories(nerofs_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(nerofs_flags INTERFACE _FILE_OFFSET_BITS=64 $<$<BOOL:${NEROFS_FAULTS}>:NEROFS_FAULTS=1>)
target_compile_options(nerofs_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
    -fno-omit-frame-pointer -fstack-protector-strong $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
# When it optimises, GCC 12 reports the first two in its own std::string::insert and std::vector::insert, and the third of
# an optional's value that was moved, wrongly. Clang builds the fuzz targets with all of its own.
target_compile_options(nerofs_flags INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
if(NEROFS_SANITIZE)
    target_compile_options(nerofs_flags INTERFACE -fsanitize=${NEROFS_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(nerofs_flags INTERFACE -fsanitize=${NEROFS_SANITIZE})
endif()
if(NEROFS_FUZZ)
    target_compile_options(nerofs_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# nerofs_library(<folder> DEPS <folder>... LINK <outside library>...)
# One folder of src/ is one static library nerofs_<folder>. DEPS are other folders (part of the interface); LINK are
# outside libraries, kept private: their headers don't leak out of the folder that wraps them.
function(nerofs_library folder)
    cmake_parse_arguments(ARG "" "" "DEPS;LINK" ${ARGN})
    string(REPLACE "/" "_" name ${folder})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
    add_library(nerofs_${name} STATIC ${sources})
    target_link_libraries(nerofs_${name} PUBLIC nerofs_flags)
    foreach(dep ${ARG_DEPS})
        string(REPLACE "/" "_" dep_name ${dep})
        target_link_libraries(nerofs_${name} PUBLIC nerofs_${dep_name})
    endforeach()
    target_link_libraries(nerofs_${name} PRIVATE ${ARG_LINK})
endfunction()
