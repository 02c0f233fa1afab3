#include "support/origin/origin.h"

#include <algorithm>
#include <utility>

#include "support/origin/server.h"
#include "support/origin/site.h"

namespace nerofs::test {
namespace {

std::string address(std::uint16_t port) {
    return "127.0.0.1:" + std::to_string(port);
}

}  // namespace

struct origin::state {
    explicit state(const origin_options& options)
        : sockets(options), what(address(sockets.port()), address(sockets.storage_port())) {
        sockets.run([this](const http_request& request) { return what.answer(request); });
    }
    ~state() { sockets.stop(); }  // its threads use `what`
    server sockets;
    site what;
};

std::string request_record::header(std::string_view name) const {
    for (const auto& [n, v] : headers)
        if (n == name) return v;
    return {};
}

origin::origin(origin_options options) : state_(std::make_unique<state>(options)) {}
origin::~origin() = default;

std::uint16_t origin::port() const {
    return state_->sockets.port();
}
std::uint16_t origin::storage_port() const {
    return state_->sockets.storage_port();
}
std::string origin::host() const {
    return address(port());
}
std::string origin::url(std::string_view path) const {
    return "http://" + host() + std::string(path);
}

void origin::add_file(const std::string& path, content bytes, std::string type) {
    state_->what.add_file(path, std::move(bytes), std::move(type));
}
std::string origin::add_blob(const std::string& repository, content bytes) {
    return state_->what.add_blob(repository, std::move(bytes));
}
std::string origin::add_manifest(const std::string& repository, const std::string& tag, const std::string& media_type,
                                 std::string bytes) {
    return state_->what.add_manifest(repository, tag, media_type, std::move(bytes));
}

void origin::set_shape(origin_shape shape) {
    state_->sockets.set_shape(shape);
}
void origin::set_auth(origin_auth auth) {
    state_->what.set_auth(std::move(auth));
}
void origin::set_referrers(bool on) {
    state_->what.set_referrers(on);
}
void origin::set_redirects(origin_redirects redirects) {
    state_->what.set_redirects(redirects);
}
void origin::add_fault(fault f) {
    state_->sockets.add_fault(std::move(f));
}
void origin::clear_faults() {
    state_->sockets.clear_faults();
}
void origin::pass_time(std::chrono::milliseconds time) {
    state_->what.pass_time(time);
}
void origin::go_away(away how) {
    state_->sockets.go_away(how);
}
void origin::come_back() {
    state_->sockets.come_back();
}

std::vector<request_record> origin::log() const {
    return state_->sockets.log();
}
std::size_t origin::count(std::string_view path_part) const {
    const auto all = log();
    return static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [&](const request_record& r) { return r.path.find(path_part) != std::string::npos; }));
}
std::size_t origin::connections() const {
    return state_->sockets.connections();
}
void origin::clear_log() {
    state_->sockets.clear_log();
}
void origin::on_request(std::function<void(const request_record&)> listener) {
    state_->sockets.on_request(std::move(listener));
}

}  // namespace nerofs::test
