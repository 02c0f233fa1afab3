# What tests of layered images share: the layers, and what umoci makes of them. Sourced after cases.sh.

# On tmpfs, which takes attributes of 60 KiB: the case goes on in it.
enter_tmpfs() {
    command -v umoci >/dev/null || skip "umoci isn't installed (package umoci)"
    mkdir top
    at_end umount -l "$PWD/top"
    mount -t tmpfs none top
    cd top
    touch taken
    python3 -c 'import os; os.setxattr("taken", "user.x", b"x" * 61440)' 2>/dev/null ||
        skip "this kernel's tmpfs has no user attributes (Linux 6.6)"
    mkdir mnt layers
}

unpack_by_umoci() { # BUNDLE TAR...
    rm -rf image
    umoci init --layout image
    umoci new --image image:it
    local tar
    for tar in "${@:2}"; do umoci raw add-layer --image image:it "$tar" 2>/dev/null; done
    unpacked_at=$(date +%s)
    umoci unpack --image image:it "$1"
}

# Directories that no layer tells of have the time of the unpacking; nerofs says 0, which is the same every time.
# What the archives say is long past. The time of the root is that of its last change, whatever an archive says: umoci
# sets those of parents again, but not this one.
layers_manifest() { # DIR
    "$bin/tree_manifest" --nanoseconds "$1" |
        awk -v now="$unpacked_at" '{
             for (i = 1; i <= NF; i++) if (split($i, t, "=") == 2 && t[1] == "mtime" && t[2] + 0 >= now) $i = "mtime=0+0"
             if ($1 == ".") sub(/mtime=[^ ]*/, ""); print }'
}

# Kills the keeper and then the fetcher of mnt; its readers go on with the same bytes.
survives_deaths() { # FILE IN mnt, EXPECTED
    local field pid
    for field in keeper_pid fetcher_pid; do
        pid=$("$bin/nerofs" status --json "$PWD/mnt" | sed -nE "s/^ *\"$field\": ([0-9]+),?\$/\1/p")
        kill -KILL "$pid"
        [[ $field == fetcher_pid ]] || try 0 "$bin/nerofs" reattach mnt
        cmp "mnt/$1" "$2"
    done
}

# Changes a byte in each STEP bytes.
change_bytes() { # FROM STEP LEFT-AT-THE-END FILE...
    python3 - "$@" <<'END'
import sys
begin, step, left = map(int, sys.argv[1:4])
for name in sys.argv[4:]:
    with open(name, "r+b") as f:
        for at in range(begin, f.seek(0, 2) - left, step):
            f.seek(at)
            byte = f.read(1)
            f.seek(at)
            f.write(bytes([byte[0] ^ 4]))
END
}

# Fails with what differs between two manifests.
same_manifests() { # FILE FILE
    diff "$1" "$2" | cut -c1-500 >difference || fail "$(head -n 40 difference)"
}

# The tar archives of a directory as registries have layers: in turn as they are, compressed by gzip, by zstd. Into
# $stored.
compress_layers() { # DIR
    local tar i=0
    stored=()
    for tar in "$1"/*.tar; do
        case $((i++ % 3)) in
            0) stored+=("$tar") ;;
            1) gzip -k "$tar" && stored+=("$tar.gz") ;;
            2) zstd -q "$tar" && stored+=("$tar.zst") ;;
        esac
    done
}
