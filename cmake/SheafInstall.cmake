# `cmake --install build --prefix ANYWHERE` makes a tree that runs from wherever it is moved: our own
# libraries are linked in, and nothing in it knows the prefix.
include(GNUInstallDirs)

# Libraries that the user brought from a place of their own are found again after installing.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/sheaf/configs)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)
install(FILES README.md LICENSE CHANGELOG.md SECURITY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
