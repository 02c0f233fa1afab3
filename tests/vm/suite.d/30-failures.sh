# Mounts that fail: one line says why, the exit bit is mount(8)'s, and nothing is left when the command returns.

cannot() { # STATUS REASON COMMAND...: the source is the word before the last
    local source=${*: -2:1}
    try "$1" "${@:3}"
    says "mount.erofs: cannot mount '$source': $2"
    equal "$out" '' stdout
    nothing_left_now
}

no_module() {
    local hint="load the 'nbd' module, or mount without -t erofs.nbd"
    unload_nbd
    mkdir m
    echo /bin/false >/proc/sys/kernel/modprobe
    cannot 32 "this kernel has no nbd driver loaded, and 'modprobe nbd' exited with status 1; $hint" \
        "$bin/mount.erofs" -t erofs.nbd "$images/plain" m
    echo /nonexistent >/proc/sys/kernel/modprobe
    cannot 32 "this kernel has no nbd driver loaded, and cannot start '/nonexistent': No such file or directory; $hint" \
        "$bin/mount.erofs" -t erofs.nbd -o nbd.method=ioctl "$images/plain" m
    ! nbd_is_loaded || fail "nbd is loaded"
}

# What is no whole image is refused before a device is touched, or even made.
bad_source() {
    local type
    unload_nbd
    mkdir m directory
    mkfifo fifo
    head -c 1000000 "$images/plain" >short
    printf 'all sorts of things, but no image' >text
    gzip -c <text >packed
    : >empty
    for type in erofs.nbd erofs; do
        cannot 32 'image is truncated: its superblock says 15,475 blocks of 4096 bytes (63,385,600 bytes), the file has 1,000,000 bytes' \
            "$bin/mount.erofs" -t $type short m
        cannot 32 'not an EROFS image (the file is empty)' "$bin/mount.erofs" -t $type empty m
        cannot 32 "not an EROFS image (the file has 33 bytes, the superblock alone ends at byte 1,152)" \
            "$bin/mount.erofs" -t $type text m
        cannot 32 "image 'directory': is neither a regular file nor a block device" \
            "$bin/mount.erofs" -t $type directory m
        cannot 32 "image 'fifo': is neither a regular file nor a block device" "$bin/mount.erofs" -t $type fifo m
        cannot 32 "image 'missing': no such file or device; an image in a registry is named docker://missing" \
            "$bin/mount.erofs" -t $type missing m
        cannot 32 "mount point 'nowhere': No such file or directory" "$bin/mount.erofs" -t $type "$images/plain" nowhere
        cannot 32 "mount point 'text': Not a directory" "$bin/mount.erofs" -t $type "$images/plain" text
    done
    ! nbd_is_loaded || fail "nbd is loaded"
}

# mount(2) itself fails after the connect: its errno and the kernel's own words are shown.
mount_fails() { # METHOD
    local mount=("$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1") nid start
    mkdir m
    cannot 32 "mount: Invalid argument (kernel: erofs: Unknown parameter 'bogus')" \
        "${mount[@]}" -o bogus=1 "$images/plain" m

    # The root inode is zeros, and so is the bit that says that the superblock has a checksum.
    cp "$images/plain" broken
    nid=$(od -An -tu2 -j1038 -N2 broken)
    start=$(od -An -tu4 -j1064 -N4 broken)
    printf '\0' | dd of=broken bs=1 seek=1032 conv=notrunc status=none
    dd if=/dev/zero of=broken bs=32 seek=$((start * 128 + nid)) count=1 conv=notrunc status=none
    try 32 "${mount[@]}" broken m
    says_like "mount.erofs: cannot mount 'broken': mount: * (kernel: erofs: (device nbd0): *)"
    nothing_left_now

    # The mount point goes away in the middle.
    NEROFS_FAULT=front.attached:stop "${mount[@]}" "$images/plain" m >out 2>&1 &
    wait_for 30 is_stopped mount.erofs
    rmdir m
    kill -CONT "$pid"
    local status=0
    wait $! || status=$?
    equal "$status" 32 'the exit status'
    equal "$(<out)" "mount.erofs: cannot mount '$images/plain': mount: No such file or directory"
}

# An image that needs a newer kernel: what the kernel says, and which one would do.
needs_newer_kernel() { # METHOD SAMPLE KERNEL
    mkdir m
    try 32 "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/sample-$2" m
    says_like "mount.erofs: cannot mount '$images/sample-$2': mount: * (kernel: erofs: (device nbd0): *); the image needs Linux $3"
    nothing_left_now
}

# A child dies each time that it comes to this point.
child_dies() { # METHOD POINT HOW STORY
    mkdir m
    NEROFS_FAULT=$2:$3:*:1 cannot 32 "$4; see /run/nerofs/log" \
        "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/plain" m
}

# The keeper dies: the front removes what it has left, and what ends by that ends soon.
keeper_dies() { # METHOD POINT WHEN
    mkdir m
    NEROFS_FAULT=$2:kill try 32 "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/plain" m
    says_like "mount.erofs: cannot mount '$images/plain': the keeper (nerofs-keeper) was killed by signal 9 (Killed) before $3; see /run/nerofs/log"
    nothing_left
}

# Ctrl-C, or the end of the front, when the keeper has come to this point: it is undone.
interrupted() { # METHOD POINT SIGNAL
    local status=0
    mkdir m
    NEROFS_FAULT=$2:stop "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/plain" m >out 2>&1 &
    local front=$!
    case $2 in
        keeper.*) wait_for 30 is_stopped nerofs-keeper ;;
        front.*) wait_for 30 is_stopped mount.erofs ;;
    esac
    kill -"$3" $front
    if [[ $2 == front.* && $3 != KILL ]]; then kill -CONT $front; fi
    wait $front || status=$?
    if [[ $3 == KILL ]]; then
        equal "$status" 137 'the exit status'
    else
        equal "$status" 8 'the exit status'
        equal "$(<out)" 'nerofs: interrupted'
    fi
    if [[ $2 == keeper.* ]]; then kill -CONT "$pid"; fi
    nothing_left
}

# Ctrl-C after mount(2) is too late: it is mounted, and the user isn't told otherwise.
interrupted_late() { # METHOD
    local status=0
    mkdir m
    NEROFS_FAULT=front.mounted:stop "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/plain" m >out 2>&1 &
    wait_for 30 is_stopped mount.erofs
    kill -INT "$pid"
    kill -CONT "$pid"
    wait $! || status=$?
    equal "$status" 0 'the exit status'
    equal "$(<out)" ''
    probe_mount m
    umount m
}

# The front dies between mount(2) and telling of it: the mount is a mount like any other.
front_killed_late() { # METHOD
    mkdir m
    NEROFS_FAULT=front.mounted:stop "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/plain" m >out 2>&1 &
    wait_for 30 is_stopped mount.erofs
    kill -KILL "$pid"
    wait $! || true
    wait_for 10 eval '! is_running mount.erofs'
    probe_mount m
    try 0 "$bin/nerofs" status m
    like "$out" '*state *served*'
    umount m
}

add 'failure: no nbd module' no_module
add 'failure: bad sources and mount points' bad_source
# Before the connect the method makes no difference, nor does the kernel.
for point in start check answer; do
    add --kernel 6.12 "failure: checker dies at $point" child_dies netlink checker.$point kill \
        'the checker (nerofs-checker) was killed by signal 9 (Killed) while it checked the image'
done
for point in start setup ready; do
    add --kernel 6.12 "failure: server dies at $point" child_dies netlink server.$point kill \
        'the server (nerofs-server) was killed by signal 9 (Killed) before it was ready'
done
add --kernel 6.12 'failure: server exits at ready' child_dies netlink server.ready exit \
    'the server (nerofs-server) exited with status 1 before it was ready'
for point in start checked serving recorded; do
    add --kernel 6.12 "failure: keeper dies at $point" keeper_dies netlink keeper.$point 'the device was ready'
    add --kernel 6.12 "failure: Ctrl-C with the keeper at $point" interrupted netlink keeper.$point INT
done
for method in netlink ioctl; do
    add "failure: mount(2) fails, $method" mount_fails $method
    add "failure: keeper dies at connected, $method" keeper_dies $method keeper.connected 'the device was ready'
    add "failure: keeper dies at attached, $method" keeper_dies $method keeper.attached \
        'the @(image was mounted|mount was in its care)'
    add "failure: keeper dies at mounted, $method" keeper_dies $method keeper.mounted 'the mount was in its care'
    add "failure: Ctrl-C with the keeper at connected, $method" interrupted $method keeper.connected INT
    add "failure: Ctrl-C before mount(2), $method" interrupted $method front.attached INT
    add --kernel 6.12 "failure: Ctrl-C after mount(2), $method" interrupted_late $method
    add --kernel 6.12 "failure: SIGTERM before mount(2), $method" interrupted $method front.attached TERM
    add "failure: front killed before mount(2), $method" interrupted $method front.attached KILL
    add "failure: front killed after mount(2), $method" front_killed_late $method
done
add --kernel 6.12 'failure: the image needs a newer kernel' needs_newer_kernel netlink metabox '6.17 or later (metabox)'
add --kernel 6.1 'failure: the image needs a newer kernel' needs_newer_kernel netlink zstd '6.10 or later (zstd)'
