#include "cli/arguments.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/text.h"

namespace nerofs::cli {
namespace {

class scanner {
  public:
    scanner(std::span<const std::string> args, std::span<const flag_spec> specs) : args_(args), specs_(specs) {}

    result<scanned_arguments> run() {
        while (next_ < args_.size() && !ended_) {
            const std::string_view arg = args_[next_++];
            if (arg == "--") {
                for (; next_ < args_.size(); ++next_) found_.operands.push_back(args_[next_]);
            } else if (arg.starts_with("--")) {
                NEROFS_CHECK(take_long(arg.substr(2)));
            } else if (arg.size() > 1 && arg[0] == '-') {
                NEROFS_CHECK(take_letters(arg.substr(1)));
            } else {
                found_.operands.emplace_back(arg);
            }
        }
        return std::move(found_);
    }

  private:
    // The rest of the argument, or else the next argument.
    status take_value(const flag_spec& spec, std::string_view shown) {
        if (next_ == args_.size())
            return fail(error_kind::usage, fmt::format("option {}: needs {}", quoted(shown), spec.value));
        found_.flags.push_back({&spec, args_[next_++]});
        return {};
    }

    void take_plain(const flag_spec& spec) {
        found_.flags.push_back({&spec, {}});
        ended_ = spec.final;
    }

    status take_letters(std::string_view letters) {
        while (!letters.empty() && !ended_) {
            const char letter = letters[0];
            const std::string shown = {'-', letter};
            letters.remove_prefix(1);
            const auto spec = std::find_if(specs_.begin(), specs_.end(),
                                           [&](const flag_spec& s) { return s.letter == letter && letter != 0; });
            if (spec == specs_.end())
                return fail(error_kind::usage, fmt::format("option {}: not known", quoted(shown)));
            if (spec->value.empty()) {
                take_plain(*spec);
            } else if (letters.empty()) {
                return take_value(*spec, shown);
            } else {
                found_.flags.push_back({&*spec, std::string(letters)});
                return {};
            }
        }
        return {};
    }

    status take_long(std::string_view text) {
        const std::size_t equals = text.find('=');
        const std::string_view name = text.substr(0, equals);
        const std::string shown = fmt::format("--{}", name);
        NEROFS_TRY(const flag_spec* spec, find_long(name, shown));
        if (spec->value.empty()) {
            if (equals != std::string_view::npos)
                return fail(error_kind::usage, fmt::format("option {}: takes no value", quoted(shown)));
            take_plain(*spec);
            return {};
        }
        if (equals == std::string_view::npos) return take_value(*spec, shown);
        found_.flags.push_back({spec, std::string(text.substr(equals + 1))});
        return {};
    }

    result<const flag_spec*> find_long(std::string_view name, std::string_view shown) const {
        const flag_spec* match = nullptr;
        std::vector<std::string> matches;
        std::vector<std::string_view> known;
        for (const flag_spec& spec : specs_) {
            if (spec.name.empty()) continue;
            if (spec.name == name) return &spec;
            known.push_back(spec.name);
            if (name.empty() || !spec.name.starts_with(name)) continue;
            match = &spec;
            matches.push_back(fmt::format("--{}", spec.name));
        }
        if (matches.size() == 1) return match;
        if (matches.size() > 1)
            return fail(error_kind::usage,
                        fmt::format("option {}: could be any of {}", quoted(shown), fmt::join(matches, " ")));
        const std::string_view near = nearest(name, known);
        return fail(make_error(error_kind::usage, fmt::format("option {}: not known", quoted(shown)))
                        .with_hint(near.empty() ? std::string() : fmt::format("did you mean '--{}'?", near)));
    }

    std::span<const std::string> args_;
    std::span<const flag_spec> specs_;
    std::size_t next_ = 0;
    bool ended_ = false;
    scanned_arguments found_;
};

}  // namespace

result<scanned_arguments> scan_arguments(std::span<const std::string> args, std::span<const flag_spec> specs) {
    return scanner(args, specs).run();
}

std::string flag_name(const flag_spec& spec) {
    return spec.letter != 0 ? std::string{'-', spec.letter} : fmt::format("--{}", spec.name);
}

}  // namespace nerofs::cli
