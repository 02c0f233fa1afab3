# shellcheck shell=bash
# What the benchmarks share. Sourced, with `set -euo pipefail`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$root/build/bench

# Installs what is missing: need COMMAND PACKAGE [COMMAND PACKAGE]...
need() {
    local missing=()
    while (($#)); do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    if ((${#missing[@]} == 0)); then return; fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Builds the release flavour; --build DIR of the scripts names another build, which is taken as it is.
build_programs() {
    if [[ ! -e $build/build.ninja ]]; then (cd "$root" && cmake --preset bench >&2); fi
    cmake --build "$build" --target nerofs nerofs-keeper nerofs-server nerofs-checker nerofs-fetcher mount.erofs umount.erofs \
        random_reader reply_size ingest_file >&2
}

# An image of the size that holds one file of random bytes, uncompressed, in the page cache.
make_image() { # FILE MEGABYTES
    need mkfs.erofs erofs-utils
    mkdir "$1.tree"
    head -c "$2M" /dev/urandom >"$1.tree/data"
    mkfs.erofs --quiet "$1" "$1.tree" >&2
    rm -r "$1.tree"
    cat "$1" >/dev/null
}

# The middle one of some numbers.
median() {
    printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

calculate() { # FORMAT EXPRESSION
    awk "BEGIN { printf(\"$1\", ($2)) }"
}

# Processor time, in clock ticks, of processes and their threads, ended ones included.
cpu_ticks() { # PID...
    local pid line fields total=0
    for pid; do
        line=$(<"/proc/$pid/stat")
        read -ra fields <<<"${line##*) }"
        total=$((total + fields[11] + fields[12]))
    done
    echo "$total"
}

# Linux may share the processors out by session (autogroup). On a busy machine a benchmark asks for more than its share
# while it runs; with an empty NICE nothing changes.
session_nice='' # to be restored
prioritize_session() { # NICE
    if [[ ! $1 || ! -e /proc/$$/autogroup ]]; then return; fi
    session_nice=$(sed 's/.* nice //' "/proc/$$/autogroup")
    prioritize "$1" $$
}
prioritize() { # NICE PID...
    local pid
    if [[ ! $1 ]]; then return; fi
    for pid in "${@:2}"; do
        if [[ -e /proc/$pid/autogroup ]]; then echo "$1" >"/proc/$pid/autogroup"; fi
    done
}
restore_session() {
    prioritize "$session_nice" $$
}

describe_machine() {
    echo "$(date -u +%F), $(nproc) CPUs ($(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)), Linux $(uname -r)," \
        "load $(cut -d ' ' -f 1 /proc/loadavg), nerofs $(git -C "$root" rev-parse --short HEAD)"
}
