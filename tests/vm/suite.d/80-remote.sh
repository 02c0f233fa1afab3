# Images that aren't on this machine, over NBD: fetched while they are read, whatever dies.

# The origin serves $image as a URL and as an image in a registry: $url and $reference.
start_origin() { # ARGUMENT...
    ip link set lo up 2>/dev/null || ifconfig lo up
    "$bin/origin" --file "/image.erofs=$images/$image" --image "team/tree:1=$images/$image" --log "$scratch/requests" "$@" \
        </dev/null >"$scratch/origin" 2>&1 &
    origin=$!
    wait_for 20 grep -q ^port "$scratch/origin"
    local port
    port=$(sed -n 's/^port //p' "$scratch/origin")
    url=http://127.0.0.1:$port/image.erofs
    reference=docker://127.0.0.1:$port/team/tree:1
}

mount_remote() { # SOURCE [OPTIONS]
    mkdir -p m
    try 0 "$bin/mount.erofs" -t erofs.nbd -o "cache.dir=$PWD/cache${2:+,$2}" "$1" m
    says ''
    device_of "$PWD/m"
}

remote_tree() { # METHOD SOURCE_VARIABLE IMAGE
    image=$3
    start_origin --delay 5
    mount_remote "${!2}" "nbd.method=$1"
    "$bin/tree_manifest" --threads 2 m >"$scratch/manifest"
    cmp -s "$images/manifest" "$scratch/manifest" ||
        fail "the tree is not the original:"$'\n'"$(diff "$images/manifest" "$scratch/manifest" | head -n 20)"
    note "$(wc -l <"$scratch/requests") requests for $(stat -c %s "$images/$image") bytes"
    umount m
    kill $origin
}

# The first read of a tree whose source is slow and whose fetcher dies twice a second and whose server now and then.
remote_killed() {
    image=lz4hc
    start_origin --delay 10 --total-bandwidth 8000000
    mount_remote "$reference" prefetch=none
    (
        for i in {1..12}; do
            pause 0.5
            pids_of nerofs-fetcher
            kill -KILL "${pids[@]}" 2>/dev/null || true
            if ((i % 4 == 0)); then
                pids_of nerofs-server
                kill -KILL "${pids[@]}" 2>/dev/null || true
            fi
        done
    ) &
    hammer 10 --readers 4
    wait $!
    "$bin/tree_manifest" --threads 2 m >"$scratch/manifest"
    cmp -s "$images/manifest" "$scratch/manifest" || fail "the tree is not the original"
    status_of server_restarts
    ((value >= 2)) || fail "the server was restarted $value times only"
    status_of fetcher_restarts
    ((value >= 5)) || fail "the fetcher was restarted $value times only"
    umount m
    kill $origin
}

# Everything dies; the record is enough to go on, from the cache even without the source.
remote_reattached() {
    image=lz4hc
    start_origin
    mount_remote "$url" prefetch=all
    try 0 "$bin/nerofs" fetch m
    pids_of nerofs-keeper nerofs-server nerofs-fetcher
    kill -KILL "${pids[@]}"
    kill $origin
    try 0 "$bin/nerofs" reattach "$device"
    echo 3 >/proc/sys/vm/drop_caches
    "$bin/tree_manifest" --threads 2 m >"$scratch/manifest"
    cmp -s "$images/manifest" "$scratch/manifest" || fail "the tree is not the original"
    umount m
}

# The keeper alone dies: the server goes on with its fetcher, and the next keeper brings a new one.
remote_keeper_killed() {
    image=lz4hc
    start_origin --delay 5
    mount_remote "$reference" prefetch=none
    kill_and_wait nerofs-keeper
    probe_mount m
    try 0 "$bin/nerofs" reattach "$device"
    "$bin/tree_manifest" --threads 2 m >"$scratch/manifest"
    cmp -s "$images/manifest" "$scratch/manifest" || fail "the tree is not the original"
    umount m
    kill $origin
}

# Where there is no nbd driver, FUSE is taken; on 6.1, which mounts no files, with a loop device.
remote_by_fuse() {
    image=lz4hc
    unload_nbd
    start_origin --delay 5
    mkdir m
    try 0 "$bin/mount.erofs" -t erofs.fuse -o "cache.dir=$PWD/cache" "$reference" m
    "$bin/tree_manifest" --threads 2 m >"$scratch/manifest"
    cmp -s "$images/manifest" "$scratch/manifest" || fail "the tree is not the original"
    try 0 "$bin/umount.erofs" m
    kill $origin
}

for method in netlink ioctl; do add --seconds 240 "remote: a tree from a registry, $method" remote_tree $method reference lz4hc; done
add --kernel 6.12 --seconds 240 'remote: a tree from a URL' remote_tree netlink url plain
add --seconds 240 'remote: fetcher and server killed while the image comes' remote_killed
add --seconds 240 'remote: all killed, reattach serves from the cache' remote_reattached
add --kernel 6.12 --seconds 240 'remote: keeper killed, reattach brings a new fetcher' remote_keeper_killed
add --seconds 240 'remote: by FUSE' remote_by_fuse
