# nanostep::nanostep is one of nanostep::static and nanostep::shared: as BUILD_SHARED_LIBS of the including project says,
# static without it, and whichever there is if there is only one.
if(NOT TARGET nanostep::nanostep)
  if(TARGET nanostep::shared AND (BUILD_SHARED_LIBS OR NOT TARGET nanostep::static))
    set(nanostep_default nanostep::shared)
  else()
    set(nanostep_default nanostep::static)
  endif()
  # an alias of an alias is refused
  get_target_property(nanostep_aliased ${nanostep_default} ALIASED_TARGET)
  if(nanostep_aliased)
    set(nanostep_default ${nanostep_aliased})
  endif()
  add_library(nanostep::nanostep ALIAS ${nanostep_default})
  unset(nanostep_default)
  unset(nanostep_aliased)
endif()
