#include "oci/secret.h"

#include <cstring>

namespace nerofs::oci {

void wipe(std::string& text) {
    // All of the capacity is the string's own memory once it is its size; growing to it never allocates.
    text.resize(text.capacity());
    ::explicit_bzero(text.data(), text.size());
    text.clear();
}

}  // namespace nerofs::oci
