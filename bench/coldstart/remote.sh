# shellcheck shell=bash disable=SC2034,SC2154 # who sources this has $build and takes $elapsed, $image, $reference and $url
# What the benchmarks of remote images share, on this machine: the image, the origin, mounts. Sourced after lib.sh, with
# $options (further ones of the mounts) and $priority.

# ---- what is left: nothing ----

work=$(mktemp -d /var/tmp/nerofs-bench-XXXXXX)
chmod a+rx "$work"
mkdir "$work/dir"
declare -A started=() # processes that this command started, by what they are
stop() { # NAME...
    local name
    for name; do
        if [[ ! ${started[$name]:-} ]]; then continue; fi
        kill "${started[$name]}" 2>/dev/null || true
        wait "${started[$name]}" 2>/dev/null || true
        unset "started[$name]"
    done
}
finish() {
    trap '' INT TERM HUP
    restore_session
    local tries=0
    while mountpoint -q "$work/dir" && ((++tries < 10)); do
        "$build/bin/umount.erofs" "$work/dir" 2>/dev/null || umount -l "$work/dir" || true
    done
    stop "${!started[@]}"
    if [[ ${making:-} ]]; then rm -rf --one-file-system "$making"; fi
    rm -rf --one-file-system "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# ---- the images ----

keep=${NEROFS_TEST_CACHE:-/var/cache/nerofs-test}
packages=python3-numpy
recipe="debootstrap --variant=minbase --include=$packages bookworm; mkfs.erofs -zlz4hc; $(dpkg-query -W -f '${Version}' erofs-utils)"
keep+=/coldstart-$(printf %s "$recipe" | sha256sum | cut -c 1-12)
image=$keep/image.erofs

make_python_image() {
    if [[ -e $image ]]; then return; fi
    echo "making the image, once: a Debian with $packages" >&2
    mkdir -p "$keep"
    making=$(mktemp -d "$keep/tree-XXXXXX")
    debootstrap --variant=minbase --include=$packages bookworm "$making/tree" >"$work/debootstrap.log" 2>&1 || {
        tail -n 5 "$work/debootstrap.log" >&2
        exit 1
    }
    rm -rf "$making/tree/var/cache/apt" "$making/tree/var/lib/apt/lists"
    mkfs.erofs --quiet -zlz4hc "$making/image" "$making/tree" >&2
    mv "$making/image" "$image"
    rm -rf --one-file-system "$making"
    making=''
}

# ---- the sides ----

origin() { # ARGUMENT...: $reference and $url; its requests are in $work/requests
    : >"$work/requests"
    : >"$work/origin"
    "$build/bin/origin" --log "$work/requests" "$@" >"$work/origin" 2>&1 &
    started[origin]=$!
    local tries=0 port
    until grep -q ^port "$work/origin"; do
        if ((++tries > 600)) || ! kill -0 "${started[origin]}" 2>/dev/null; then
            echo "run: the origin did not start: $(<"$work/origin")" >&2
            exit 1
        fi
        sleep 0.05
    done
    port=$(sed -n 's/^port //p' "$work/origin")
    reference=docker://127.0.0.1:$port/team/python:1 url=http://127.0.0.1:$port/image.erofs
}

# Nothing of an image is in memory but at the origin, which stands for another machine; programs are.
make_cold() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
    cat "$1" "$build"/bin/* >/dev/null
    for tool in "curl --version" "nbdkit --version" "nbdcopy --version" "nbdkit --dump-plugin curl" "umount --version" \
        "mount --version" "chroot --version" "find --version" "xargs --version" "$build/bin/nerofs --version" \
        "$build/bin/mount.erofs --help" "$build/bin/nerofs-fetcher --version"; do
        $tool >/dev/null 2>&1 || true
    done
}

mount_remote() { # SOURCE: with a cache of its own
    rm -rf "$work/cache"
    mount_again "$1"
}
mount_again() {
    "$build/bin/mount.erofs" -t erofs.fuse -o "cache.dir=$work/cache$options" "$1" "$work/dir" &
    if [[ $priority ]]; then # the keeper has a session of its own, as soon as it runs
        while kill -0 $! 2>/dev/null && [[ ! -e $work/dir/bin ]]; do
            # shellcheck disable=SC2046
            prioritize "$priority" $(cat /proc/$!/task/$!/children 2>/dev/null)
            sleep 0.002
        done
    fi
    wait $!
}
mount_loop() { "$build/bin/mount.erofs" -o loop "$1" "$work/dir"; }
unmount() { "$build/bin/umount.erofs" "$work/dir"; }
