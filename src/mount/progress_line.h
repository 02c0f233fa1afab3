// The line on a terminal that says what is waited for.
#pragma once

#include <string>

namespace nerofs::mount {

// On stderr, over itself; nothing where that is no terminal. Gone with its object.
class progress_line {
  public:
    progress_line() = default;
    progress_line(const progress_line&) = delete;
    progress_line& operator=(const progress_line&) = delete;
    ~progress_line() { clear(); }

    void show(const std::string& what);
    void clear();

  private:
    bool shown_ = false;
};

}  // namespace nerofs::mount
