# How an image gets attached: the ways to the kernel, the first mount after boot, several at once, namespaces.

# The module is loaded, the run directory made, and netlink used at once.
first_mount() { # METHOD TRANSPORT
    unload_nbd
    rm -rf /run/nerofs
    mount_nbd "$1" m
    nbd_is_loaded || fail "nbd is not loaded"
    try 0 "$bin/nerofs" status m
    like "$out" "*transport*$2, $device*state*served*"
    equal "$(stat -c '%U %a' /run/nerofs /run/nerofs/log /run/nerofs/*.record /run/nerofs/*.sock | tr '\n' ' ')" \
        'root 700 root 600 root 600 root 700 '
    umount m
    nothing_left
}

# An image may be mounted many times, each time with a device of its own.
second_mount() { # METHOD
    mount_nbd "$1" m
    local first=$device
    mount_nbd "$1" n
    [[ $device != "$first" ]] || fail "both mounts are on $device"
    probe_mount m
    umount m
    probe_mount n
    umount n
}

many_mounts() { # METHOD
    local i waiting=() bad=0
    load_nbd nbds_max=20
    for ((i = 0; i < 20; ++i)); do
        mkdir m$i
        "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/$image" m$i </dev/null >said$i 2>&1 &
        waiting+=($!)
    done
    for ((i = 0; i < 20; ++i)); do wait "${waiting[i]}" || bad=1; done
    equal "$(cat said*)" '' 'the output of all'
    ((!bad)) || fail "a mount failed"
    try 0 "$bin/nerofs" list
    equal "$(grep -c ' served ' <<<"$out")" 20 'mounts in the list'
    for ((i = 0; i < 20; ++i)); do probe_mount m$i; done
    for ((i = 0; i < 20; ++i)); do umount m$i & done
    wait
}

# The process that started the mount, and its keeper and server, don't know their pids in the initial namespace, which
# are what sysfs shows.
pid_namespace() { # METHOD
    mkdir m
    try 0 unshare --pid --fork --mount-proc bash -ec '
        "$1" -t erofs.nbd -o "nbd.method=$2" "$3" m
        echo "pid $$"
        sha256sum "m/$4"
        umount m
        for ((i = 0; i < 500; ++i)); do
            connected=(/sys/block/nbd*/pid)
            [[ -e ${connected[0]} ]] || exit 0
            sleep 0.02
        done
        echo "still connected" >&2' - "$bin/mount.erofs" "$1" "$images/$image" "$probe_file"
    says ''
    equal "$out" "pid 1"$'\n'"$probe_digest  m/$probe_file" stdout
}

# The mount is made in the caller's mount namespace, and ends with it.
mount_namespace() { # METHOD
    mkdir m
    unshare --mount --propagation private bash -ec '
        "$1" -t erofs.nbd -o "nbd.method=$2" "$3" m
        sha256sum "m/$4"
        : >ready
        read -r' - "$bin/mount.erofs" "$1" "$images/$image" "$probe_file" <"$scratch/never" >out 2>&1 &
    local pid=$!
    wait_for 30 test -e ready
    equal "$(<out)" "$probe_digest  m/$probe_file" output
    ! mountpoint -q m || fail "it is mounted in our namespace, too"
    connected 0 || fail "nbd0 is not connected"
    kill $pid
}

# -N: the mount is made in that namespace by a caller outside.
into_namespace() { # METHOD
    mkdir m
    unshare --mount --propagation private bash -c ': >ready; read -r' <"$scratch/never" &
    local pid=$!
    wait_for 30 test -e ready
    try 0 "$bin/mount.erofs" -t erofs.nbd -N "$pid" -o "nbd.method=$1" "$images/$image" "$PWD/m"
    ! mountpoint -q m || fail "it is mounted in our namespace"
    try 0 nsenter -t "$pid" -m sha256sum "$PWD/m/$probe_file"
    equal "${out%% *}" "$probe_digest"
    try 0 "$bin/umount.erofs" -N "/proc/$pid/ns/mnt" "$PWD/m"
    says ''
    nothing_left_now
    kill $pid
}

# Another process takes the device that ioctl has chosen: the next one is taken.
lost_device() {
    load_nbd
    NEROFS_FAULT=ioctl.set_sock:errno:1:16 mount_nbd ioctl m
    equal "$device" /dev/nbd1
    probe_mount m
    umount m
}

# Everything that ioctl sees is in use; netlink gets a new device.
busy_devices() {
    load_nbd nbds_max=2
    mount_nbd ioctl a
    mount_nbd ioctl b
    mkdir c
    try 32 "$bin/mount.erofs" -t erofs.nbd -o nbd.method=ioctl "$images/plain" c
    says "mount.erofs: cannot mount '$images/plain': no free nbd device (2 of 2 in use); $more_devices"
    mount_nbd netlink c
    equal "$device" /dev/nbd2
    umount a b c
    nothing_left
    NEROFS_FAULT=ioctl.set_sock:errno:*:16 try 32 "$bin/mount.erofs" -t erofs.nbd -o nbd.method=ioctl "$images/plain" c
    says "mount.erofs: cannot mount '$images/plain': no free nbd device (3 of 3 in use); $more_devices"
}
more_devices="netlink makes more (nbd.method=auto); so does unloading the module and 'modprobe nbd nbds_max=64'"

# Netlink is refused as containers do it: the same processes go on with ioctl and the same open source, and the user
# reads one line.
netlink_refused() {
    mkdir m
    cp "$images/plain" image
    try 0 "$bin/count_opens" opens image \
        "$bin/without_netlink" "$bin/mount.erofs" -t erofs.nbd image m
    says "nerofs: note: attached by ioctl, without failover of its keeper (netlink socket: Operation not permitted)"
    equal "$(<opens)" $'1\nmount.erofs' 'opens of the image'
    probe_mount m
    try 0 "$bin/nerofs" status m
    like "$out" '*transport*nbd (ioctl), /dev/nbd0*'
    umount m
    nothing_left
    try 1 "$bin/without_netlink" "$bin/mount.erofs" -t erofs.nbd -o nbd.method=netlink image m
    says "mount.erofs: cannot mount 'image': cannot connect an nbd device: netlink socket: Operation not permitted"
}

# A refusal of this very request is no reason to try another way.
netlink_fails() {
    mkdir m
    NEROFS_FAULT=netlink.connect:errno:1:16 try 32 "$bin/mount.erofs" -t erofs.nbd "$images/plain" m
    says "mount.erofs: cannot mount '$images/plain': cannot connect an nbd device: netlink: Device or resource busy"
    nothing_left_now
}

one_open() { # METHOD
    mkdir m
    cp "$images/plain" image
    try 0 "$bin/count_opens" opens image "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" image m
    equal "$(<opens)" $'1\nmount.erofs' 'opens of the image'
    umount m
}

# Without a subtype the kernel does it by itself, in the best way that it has.
without_nbd() {
    modprobe loop
    mkdir m ramfs
    mount -t ramfs ramfs ramfs # of a file on tmpfs the kernel makes no file-backed mount
    cp "$images/plain" ramfs/image
    if [[ $VM_KERNEL == 6.1 ]]; then
        try 0 "$bin/mount.erofs" -v ramfs/image m
        like "$out" "nerofs: mounted '$PWD/ramfs/image' on 'm': loop (/dev/loop0)"
    else
        try 0 "$bin/mount.erofs" -v ramfs/image m
        like "$out" "nerofs: mounted '$PWD/ramfs/image' on 'm': file-backed"
    fi
    says ''
    probe_mount m
    try 0 "$bin/nerofs" list
    like "$out" "* mounted *$PWD/m*ramfs/image*"
    try 0 "$bin/mount.erofs" -u m
    try 0 "$bin/mount.erofs" -v -t erofs.local -o loop "$images/plain" m
    like "$out" "nerofs: mounted '$images/plain' on 'm': loop (/dev/loop0)"
    probe_mount m
    try 0 "$bin/nerofs" status m
    like "$out" "*transport*loop, /dev/loop0*"
    try 0 "$bin/umount.erofs" m
    [[ ! -e /sys/block/loop0/loop/backing_file ]] || fail "the loop device is still there"
    [[ ! -e /sys/module/nbd ]] || equal "$(echo /sys/block/nbd*/pid)" '/sys/block/nbd*/pid'
}

for method in netlink ioctl; do
    add "attach: first mount after boot, $method" first_mount $method "nbd ($method)"
    add --kernel 6.12 "attach: the source is opened once, $method" one_open $method
    add "attach: the same image twice, $method" second_mount $method
    add "attach: 20 at once, $method" many_mounts $method
    add --kernel 6.12 "attach: in a pid namespace, $method" pid_namespace $method
    add "attach: in a mount namespace, $method" mount_namespace $method
    add --kernel 6.12 "attach: into a mount namespace (-N), $method" into_namespace $method
done
add 'attach: device lost between choice and connect, ioctl' lost_device
add 'attach: every device in use, ioctl' busy_devices
add 'attach: netlink refused' netlink_refused
add 'attach: netlink fails' netlink_fails
add 'attach: without nbd' without_nbd
