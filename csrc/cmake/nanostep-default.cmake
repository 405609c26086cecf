# nanostep::nanostep is nanostep::shared if the including project sets BUILD_SHARED_LIBS, otherwise nanostep::static; if only
# one of them exists, it is that one.
if(NOT TARGET nanostep::nanostep)
  if(TARGET nanostep::shared AND (BUILD_SHARED_LIBS OR NOT TARGET nanostep::static))
    set(nanostep_default nanostep::shared)
  else()
    set(nanostep_default nanostep::static)
  endif()
  # CMake refuses an alias of an alias
  get_target_property(nanostep_aliased ${nanostep_default} ALIASED_TARGET)
  if(nanostep_aliased)
    set(nanostep_default ${nanostep_aliased})
  endif()
  add_library(nanostep::nanostep ALIAS ${nanostep_default})
  unset(nanostep_default)
  unset(nanostep_aliased)
endif()
