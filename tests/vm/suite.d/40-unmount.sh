# Ends of mounts: whoever unmounts, device, processes and record end with the last use of the device, not before.

plain_umount() { # METHOD
    mount_nbd "$1" m
    umount m
    nothing_left 5
}

# When the command returns all is over.
unmounts() { # METHOD PROGRAM ARG...: with DIR or DEVICE for what it ends
    local word words=("$bin/$2")
    mount_nbd "$1" m
    for word in "${@:3}"; do
        case $word in
            DIR) word=m ;;
            DEVICE) word=$device ;;
        esac
        words+=("$word")
    done
    try 0 "${words[@]}"
    says ''
    equal "$out" '' stdout
    nothing_left_now
}

odd_names() { # METHOD
    local name=$'a b\tc\\d\ne'
    mkdir -p "source dir/x" "$name/deep er" link
    cp "$images/plain" "source dir/an image"
    cd "source dir/x"
    try 0 "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "../an image" "../../$name/deep er"
    says ''
    probe_mount "../../$name/deep er"
    try 0 "$bin/nerofs" list
    like "$out" '*deep er*an image*'
    try 0 "$bin/umount.erofs" "../../$name/../$name/deep er/"
    nothing_left_now
    # By way of a symbolic link; removed meanwhile, as is the name of the image.
    cd ../..
    rmdir link
    ln -s "$name/deep er" link
    try 0 "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "source dir/an image" link
    rm "source dir/an image"
    probe_mount link
    try 0 "$bin/mount.erofs" -u link
    nothing_left_now
}

bind_mounts() { # METHOD
    mount_nbd "$1" m
    mkdir n
    mount --bind m n
    try 0 "$bin/mount.erofs" -u m
    says ''
    connected "$index" || fail "$device ended with the first unmount"
    probe_mount n
    mount --bind n m
    umount m
    probe_mount n
    try 0 "$bin/mount.erofs" -u n
    nothing_left_now
}

# By its device the newest mount is unmounted, one at a time.
bind_mounts_by_device() { # METHOD
    mount_nbd "$1" m
    mkdir n
    mount --bind m n
    try 0 "$bin/mount.erofs" -u "$device"
    ! mountpoint -q n || fail 'n is still mounted'
    probe_mount m
    try 0 "$bin/mount.erofs" -u "$device"
    nothing_left_now
}

read_only_media() { # METHOD
    mkdir media m
    mount -t tmpfs media media
    cp "$images/plain" media/image
    mount -o remount,ro media
    try 0 "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" media/image m
    says ''
    probe_mount m
    try 0 "$bin/mount.erofs" -u m
    says ''
    nothing_left_now
}

other_namespace() { # METHOD
    mount_nbd "$1" m
    unshare --mount --propagation private bash -c ': >ready; read -r' <"$scratch/never" &
    local pid=$!
    wait_for 30 test -e ready
    try 0 "$bin/mount.erofs" -u m
    says ''
    connected "$index" || fail "$device ended, though another namespace uses it"
    echo 3 >/proc/sys/vm/drop_caches
    try 0 nsenter -t $pid -m sha256sum "$PWD/m/$probe_file"
    equal "${out%% *}" "$probe_digest"
    kill $pid
}

busy() { # METHOD
    mount_nbd "$1" m
    exec {file}<"m/$probe_file"
    try 32 "$bin/umount.erofs" m
    says "umount.erofs: cannot unmount 'm': unmount '$PWD/m': Device or resource busy; something still uses it ('fuser -vm' tells); -l unmounts it when that ends"
    probe_mount m
    try 0 "$bin/umount.erofs" -l m
    says ''
    ! mountpoint -q m || fail "it is still mounted"
    connected "$index" || fail "$device ended, though a file is open"
    echo 3 >/proc/sys/vm/drop_caches
    equal "$(sha256sum <&$file)" "$probe_digest  -"
    exec {file}<&-
    nothing_left
}

not_mounted() {
    modprobe nbd
    modprobe loop
    mkdir m
    try 32 "$bin/mount.erofs" -u /dev/nbd5
    says "mount.erofs: cannot unmount '/dev/nbd5': '/dev/nbd5' is not mounted"
    try 32 "$bin/mount.erofs" -u /dev/loop0
    says "mount.erofs: cannot unmount '/dev/loop0': '/dev/loop0' is not mounted"
    try 32 "$bin/umount.erofs" m
    says "umount.erofs: cannot unmount 'm': 'm' is not mounted"
    try 32 "$bin/umount.erofs" /tmp
    says "umount.erofs: cannot unmount '/tmp': '/tmp' is not an EROFS mount but tmpfs"
    try 32 "$bin/umount.erofs" /nonexistent
    says "umount.erofs: cannot unmount '/nonexistent': '/nonexistent': No such file or directory"
}

# The device is not opened, since that may hang; and who reads gets EIO.
disconnects() { # METHOD PROGRAM ARG...
    mount_nbd "$1" m
    try 0 "$bin/count_opens" opens "$device" "$bin/$2" "${@:3}" "$device"
    says ''
    equal "$(<opens)" 0 "opens of $device"
    ! is_running nerofs-server || fail 'the server is still running'
    echo 3 >/proc/sys/vm/drop_caches
    try 1 cat "m/$probe_file"
    like "$err" '*Input/output error'
    umount m
}

nothing_to_disconnect() {
    modprobe nbd
    modprobe loop
    try 32 "$bin/nerofs" disconnect /dev/nbd5
    says "nerofs: cannot disconnect '/dev/nbd5': it is not connected"
    try 32 "$bin/mount.erofs" --disconnect /dev/nbd99
    says "mount.erofs: cannot disconnect '/dev/nbd99': there is no such device"
    try 1 "$bin/nerofs" disconnect /dev/loop0
    says "nerofs: cannot disconnect '/dev/loop0': '/dev/loop0' is not an nbd device"
    nothing_left_now
}

# Installed where mount(8) and umount(8) look for their helpers.
install_helpers() {
    if [[ -e /sbin/mount.erofs ]]; then return; fi
    # Not cp, which would not take /sbin for a directory where it is a link to one.
    tar -C "$installed" -cf - . | tar -C / --keep-directory-symlink -xf -
}

by_mount() { # METHOD
    install_helpers
    mkdir m
    try 0 mount -t erofs.nbd -o "nbd.method=$1,nosuid,nodev" "$images/plain" m
    says ''
    device_of "$PWD/m"
    try 0 findmnt -no OPTIONS m
    like "$out" 'ro,nosuid,nodev,*'
    probe_mount m
    try 0 umount m
    says ''
    nothing_left_now # umount(8) calls umount.erofs, which waits
    try 0 mount -v -t erofs.nbd -o "nbd.method=$1" "$images/plain" m
    like "$out" "nerofs: mounted '$images/plain' on '$PWD/m': nbd ($1), /dev/nbd0"
    try 0 umount -v "$device"
    nothing_left_now
    try 0 mount -t erofs.nbd -o "nbd.method=$1" "$images/plain" m
    try 0 umount -l m
    nothing_left
    try 32 mount -t erofs.nbd -o "nbd.method=$1,bogus" "$images/plain" m
    says "mount.erofs: cannot mount '$images/plain': mount: Invalid argument (kernel: erofs: Unknown parameter 'bogus')"
    nothing_left_now
}

fstab() { # METHOD
    install_helpers
    mkdir "a b" d
    cp "$images/plain" "an image"
    {
        echo "${PWD}/an\\040image $PWD/a\\040b erofs.nbd _netdev,nofail,x-systemd.automount,x-foo=bar,noatime,nbd.method=$1 0 0"
        echo "${PWD}/an\\040image $PWD/d erofs.nbd noauto,user,comment=systemd,nbd.method=$1 0 0"
    } >fstab
    try 0 mount -a -T fstab
    says ''
    probe_mount "a b"
    ! mountpoint -q d || fail 'noauto was mounted'
    try 0 mount -T fstab "$PWD/d"
    try 0 findmnt -no OPTIONS d
    like "$out" 'ro,nosuid,nodev,noexec,*' # what "user" implies
    probe_mount d
    try 0 umount d
    try 0 umount "a b"
    nothing_left_now
}

for method in netlink ioctl; do
    add "unmount: umount(8), $method" plain_umount $method
    add "unmount: mount.erofs -u DIR, $method" unmounts $method mount.erofs -u DIR
    add --kernel 6.12 "unmount: mount.erofs -u DEVICE, $method" unmounts $method mount.erofs -u DEVICE
    add --kernel 6.12 "unmount: umount.erofs DIR, $method" unmounts $method umount.erofs DIR
    add --kernel 6.12 "unmount: umount.erofs DEVICE, $method" unmounts $method umount.erofs -flnv -t erofs.nbd DEVICE
    add --kernel 6.12 "unmount: nerofs umount DIR, $method" unmounts $method nerofs umount DIR
    add --kernel 6.12 "unmount: odd names and relative paths, $method" odd_names $method
    add "unmount: bind mounts, $method" bind_mounts $method
    add --kernel 6.12 "unmount: bind mounts, by device, $method" bind_mounts_by_device $method
    add --kernel 6.12 "unmount: image on read-only media, $method" read_only_media $method
    add "unmount: another namespace still uses it, $method" other_namespace $method
    add "unmount: busy, and lazy with an open file, $method" busy $method
    add "unmount: mount.erofs --disconnect, $method" disconnects $method mount.erofs --disconnect
    add --kernel 6.12 "unmount: nerofs disconnect, $method" disconnects $method nerofs disconnect
    add "unmount: mount(8) and umount(8) by their helpers, $method" by_mount $method
    add --kernel 6.12 "unmount: fstab, $method" fstab $method
done
add --kernel 6.12 'unmount: what is not mounted' not_mounted
add --kernel 6.12 'unmount: nothing to disconnect' nothing_to_disconnect
