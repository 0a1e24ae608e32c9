// Where the tests find the tree and the program that they are of. Only places.cpp knows, so that
// all other objects are the same in every clone.
#pragma once

#include <string>

namespace sheaf {

std::string source_folder();
std::string test_program();

}  // namespace sheaf
