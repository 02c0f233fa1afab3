// A value that a callback brings, waited for by another thread. Internal to this folder.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "registry/patience.h"

namespace nerofs::registry {

// Who waits may leave before the value comes; it is dropped then.
template <class T>
class pending {
  public:
    std::function<void(T)> receiver() const {
        return [kept = state_](T value) {
            const std::lock_guard lock(kept->mutex);
            kept->value = std::move(value);
            kept->changed.notify_all();
        };
    }

    // nullopt: the deadline passed, or a stop was requested.
    std::optional<T> wait(const patience& p) const {
        std::unique_lock lock(state_->mutex);
        state_->changed.wait_until(lock, p.stop, p.deadline, [&] { return state_->value.has_value(); });
        return std::exchange(state_->value, std::nullopt);
    }

  private:
    struct state {
        std::mutex mutex;
        std::condition_variable_any changed;
        std::optional<T> value;
    };
    std::shared_ptr<state> state_ = std::make_shared<state>();
};

}  // namespace nerofs::registry
