// From a command line to what a fetcher needs: sources that aren't on this machine.
#pragma once

#include "base/result.h"
#include "cli/source_spec.h"
#include "ctl/messages.h"
#include "fetch/protocol/remote_source.h"
#include "mount/record.h"
#include "mount/remote_image.h"

namespace nerofs::commands {

struct remote_wish {
    fetch::remote_source source;
    fetch::remote_secrets secrets;
    ctl::cache_choice cache;
    std::string shown;  // the source, fit for records and messages
};

// A source as it was given, without what is secret in a URL.
std::string shown_source(const std::string& source);

ctl::cache_choice cache_choice_of(const cli::mount_options& options);

// For a URL or an image in a registry. Looks up credentials where the caller keeps them, which may run a helper.
// Errors: unsupported for other sources and for options that don't go with this one; those of find_credential().
result<remote_wish> remote_wish_of(const cli::source_spec& spec, const cli::mount_options& options);

// remote_image::open() by this process itself. What it waits for is shown on a terminal.
result<mount::remote_image> open_by_itself(mount::remote_image::request request);

// What the record of a remote image left out, found again. Nothing for a local one.
result<fetch::remote_secrets> find_secrets_again(const mount::record& r);

}  // namespace nerofs::commands
