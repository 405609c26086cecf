# The targets of the copy in the Python package, which has the static library only. (`cmake --install` writes its own.)
if(NOT TARGET nanostep::static)
  get_filename_component(nanostep_prefix ${CMAKE_CURRENT_LIST_DIR}/../../.. ABSOLUTE)
  add_library(nanostep::static STATIC IMPORTED)
  set_target_properties(nanostep::static PROPERTIES
    IMPORTED_LOCATION ${nanostep_prefix}/lib/${CMAKE_STATIC_LIBRARY_PREFIX}nanostep${CMAKE_STATIC_LIBRARY_SUFFIX}
    IMPORTED_LINK_INTERFACE_LANGUAGES C
    INTERFACE_INCLUDE_DIRECTORIES ${nanostep_prefix}/include
    INTERFACE_LINK_LIBRARIES "m;Threads::Threads")
  unset(nanostep_prefix)
endif()
