# `cmake --install` installs headers, both libraries, the CMake package and the pkg-config file. They find each other by
# relative paths, so the directory may be moved.
include(GNUInstallDirs)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nanostep)

install(TARGETS nanostep_static nanostep_shared EXPORT nanosteptargets
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES include/nanostep.h include/nanostep_real.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT nanosteptargets NAMESPACE nanostep:: DESTINATION ${package_dir})

# From the directory of the .pc file up to the prefix.
file(RELATIVE_PATH PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" PREFIX "\${pcfiledir}/${PREFIX}")
# An absolute CMAKE_INSTALL_INCLUDEDIR replaces the whole path.
cmake_path(APPEND INCLUDEDIR "\${prefix}" ${CMAKE_INSTALL_INCLUDEDIR})
cmake_path(APPEND LIBDIR "\${prefix}" ${CMAKE_INSTALL_LIBDIR})
set(LIBS_PUBLIC "")
set(LIBS_PRIVATE "-lm -pthread")
foreach(file nanostep.pc nanostep-config-version.cmake)
  configure_file(cmake/${file}.in ${CMAKE_CURRENT_BINARY_DIR}/${file} @ONLY)
endforeach()
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/nanostep.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES cmake/nanostep-config.cmake cmake/nanostep-default.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/nanostep-config-version.cmake DESTINATION ${package_dir})
