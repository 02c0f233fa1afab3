# Each of the three processes dies, stops or hangs, at any moment: the mount goes on, no byte is wrong, no read fails.

# hammer reads the device past the page cache and compares every byte with the image.
hammer() { # SECONDS [HAMMER-OPTION]...
    try 0 "$bin/hammer" --seconds "$1" "${@:2}" "$device" "$images/$image"
    echo "$out"
    like "$out" '*wrong=0 failed=0*' 'what hammer found'
}

status_of() { # FIELD: of the mount at ./m, into $value
    try 0 "$bin/nerofs" status --json "$device"
    value=$(sed -nE "s/^ *\"$1\": \"?([^\",]*)\"?,?\$/\1/p" <<<"$out")
}

replaced_connections() {
    grep -c 'is replaced' /run/nerofs/log || true
}

kill_and_wait() { # NAME...
    local name
    for name; do
        pids_of "$name"
        ((${#pids[@]})) || fail "there is no $name"
        kill -KILL "${pids[@]}"
    done
}

is_served_by() { # STATE
    "$bin/nerofs" status "$device" >"$scratch/status"
    grep -q "state  *$1\$" "$scratch/status"
}

server_killed_each_second() { # METHOD
    mount_nbd "$1" m nbd.timeout=3
    local before
    before=$(replaced_connections) # at the attach, by a busy kernel
    hammer 30 --readers 4 --kill nerofs-server --every 1000
    status_of server_restarts
    ((value >= 25)) || fail "the server was restarted $value times only"
    # No socket was replaced, so every read waited for the restart alone.
    equal "$(replaced_connections)" "$before" 'replaced connections'
    status_of live_connections
    equal "$value" 2 'live connections'
    umount m
}

server_killed_at() { # METHOD FAULT-PLAN
    NEROFS_FAULT=$2 mount_nbd "$1" m nbd.timeout=10
    local before
    before=$(replaced_connections)
    hammer 3 --readers 4
    status_of server_restarts
    ((value >= 2)) || fail "the server was restarted $value times only: the fault point wasn't met"
    equal "$(replaced_connections)" "$before" 'replaced connections'
    umount m
}

keeper_killed() {
    mount_nbd netlink m
    (sleep 1 && kill_and_wait nerofs-keeper) &
    hammer 3
    wait $!
    is_served_by 'served, its keeper is gone' || fail "$(<"$scratch/status")"
    try 0 "$bin/nerofs" reattach "$device"
    equal "$out" "$device is served again: its server was still running and goes on"
    is_served_by served
    hammer 3 --kill nerofs-server
    umount m
}

keeper_killed_and_unmounted() {
    mount_nbd netlink m
    kill_and_wait nerofs-keeper
    probe_mount m
    umount m
    wait_for 10 eval '! is_running nerofs-server'
    connected "$index" && fail "$device is still connected"
    # The record outlived everybody who could remove it; the next attach does.
    mount_nbd netlink n
    umount n
}

all_killed() { # REATTACH-COMMAND...
    mount_nbd netlink m nbd.timeout=3,nbd.dead_timeout=60
    (
        scratch=$PWD # `try` of two at a time
        sleep 1
        kill_and_wait nerofs-keeper nerofs-server
        sleep 1
        is_served_by 'not served' || fail "$(<"$scratch/status")"
        try 0 "$@"
        like "$out" "$device is served again*"
    ) &
    local waiter=$!
    hammer 10
    wait $waiter
    is_served_by served
    hammer 3 --kill nerofs-server
    probe_mount m
    umount m
}

image_changed_meanwhile() {
    cp "$images/$image" copy
    mkdir m
    try 0 "$bin/mount.erofs" -t erofs.nbd -o nbd.dead_timeout=5 copy m
    device_of "$PWD/m"
    kill_and_wait nerofs-keeper nerofs-server
    wait_for 5 is_served_by 'not served'
    cp copy other
    mv other copy
    try 32 "$bin/nerofs" reattach "$device"
    says "nerofs: cannot reattach '$device': '$PWD/copy' is not the image that was mounted: it has changed"
    connected "$index" || fail 'the device was disconnected'
    try 0 "$bin/nerofs" disconnect "$device"
    umount m
}

ioctl_keeper_killed() {
    mount_nbd ioctl m
    kill_and_wait nerofs-keeper
    wait_for 10 eval '! is_running nerofs-server'
    try 1 dd "if=$device" of=/dev/null bs=4096 count=1 iflag=direct
    says_like '*Input/output error*'
    try 32 "$bin/mount.erofs" --reattach "$device"
    says "mount.erofs: cannot reattach '$device': a device attached by ioctl ends with its keeper and can't be reattached"
    umount m
    # The record outlived everybody who could remove it; the next attach does.
    mount_nbd netlink n
    umount n
}

server_stopped() {
    mount_nbd netlink m "nbd.timeout=$1"
    pids_of nerofs-server
    kill -STOP "${pids[@]}"
    (sleep 20; kill -CONT "${pids[@]}" 2>/dev/null || true) & # a keeper may have replaced it meanwhile
    hammer 22
    wait $!
    umount m
}

peer_record() {
    modprobe nbd
    mkdir -p /var/run/erofsmount/nbd m
    device=/dev/$("$bin/peer_attach" /var/run/erofsmount/nbd/mountnbd_Ab3dEf "$images/$image")
    index=${device#/dev/nbd}
    try 0 "$bin/mount.erofs" --reattach "$device"
    mount -i -t erofs "$device" m
    probe_mount m
    try 32 "$bin/mount.erofs" --reattach "$device"
    says "mount.erofs: cannot reattach '$device': ${device#/dev/} is being served; nothing was changed"
    kill_and_wait nerofs-keeper nerofs-server
    try 0 "$bin/nerofs" reattach --all
    echo 3 >/proc/sys/vm/drop_caches
    probe_mount m
    umount m
    nothing_left
    [[ ! -e /var/run/erofsmount/nbd/mountnbd_Ab3dEf ]] || fail "the peer's record is left"
}

peer_alive() {
    modprobe nbd
    mkdir -p /var/run/erofsmount/nbd
    "$bin/peer_attach" /var/run/erofsmount/nbd/mountnbd_Ab3dEf "$images/$image" 15 >name &
    local peer=$!
    wait_for 10 test -s name
    device=/dev/$(<name)
    index=${device#/dev/nbd}
    try 32 "$bin/mount.erofs" --reattach "$device"
    says "mount.erofs: cannot reattach '$device': ${device#/dev/} is being served; nothing was changed"
    equal "$(ls /run/nerofs)" log '/run/nerofs'
    connected "$index" || fail 'the device was disconnected'
    kill $peer
    try 0 "$bin/mount.erofs" --disconnect "$device"
    wait_for 5 eval '! connected "$index"'
    rm /var/run/erofsmount/nbd/mountnbd_Ab3dEf
}

reattached_twice_at_once() {
    mount_nbd netlink m nbd.timeout=3
    kill_and_wait nerofs-keeper nerofs-server
    "$bin/nerofs" reattach "$device" >one 2>&1 &
    local first=$!
    "$bin/nerofs" reattach "$device" >two 2>&1 || true
    wait $first || true
    equal "$(sort one two)" "$device is served again
nerofs: cannot reattach '$device': ${device#/dev/} is being served; nothing was changed"
    is_served_by served
    pids_of nerofs-server
    equal ${#pids[@]} 1 'servers'
    probe_mount m
    umount m
}

add --seconds 120 'recovery: server killed each second under four readers, netlink' server_killed_each_second netlink
add --kernel 6.12 --seconds 120 'recovery: server killed each second under four readers, ioctl' \
    server_killed_each_second ioctl
for point in journal.intake journal.received journal.batch send.message send.between send.file journal.sent journal.done; do
    add --kernel 6.12 "recovery: server killed at $point" server_killed_at netlink "$point:kill:40"
done
add --kernel 6.12 "recovery: server killed inside a reply's header" \
    server_killed_at netlink 'send.message:limit:40:9,send.message:kill:40'
add --kernel 6.12 "recovery: server killed inside a reply's data" \
    server_killed_at netlink 'send.message:limit:40:1000,send.message:kill:40'
add 'recovery: server killed inside data sent by file' \
    server_killed_at netlink 'send.file:limit:9:70001,send.file:kill:9'
add --kernel 6.12 'recovery: server killed inside a reply, ioctl' \
    server_killed_at ioctl 'send.file:limit:9:70001,send.file:kill:9'
add 'recovery: keeper killed, the server goes on, reattach gives it a keeper' keeper_killed
add 'recovery: keeper killed, a plain umount ends the server' keeper_killed_and_unmounted
# What the kernel had sent when everybody died waits for its timer.
add --expect 'timed out' 'recovery: keeper and server killed, mount.erofs --reattach DEVICE' \
    all_killed eval '"$bin/mount.erofs" --reattach "$device"'
add --kernel 6.12 --expect 'timed out' 'recovery: keeper and server killed, nerofs reattach --all' \
    all_killed eval '"$bin/nerofs" reattach --all'
add 'recovery: reattach refuses an image that has changed' image_changed_meanwhile
add 'recovery: keeper of an ioctl device killed: the end, nothing left' ioctl_keeper_killed
add --kernel 6.12 --seconds 120 'recovery: server stopped for 20 s, within the timeout' server_stopped 30
add --seconds 120 --expect 'timed out' 'recovery: server stopped for 20 s, beyond the timeout' server_stopped 3
add --expect 'timed out' "recovery: from the peer's LOCAL record" peer_record
add 'recovery: reattach changes nothing of a device that the peer serves' peer_alive
add --kernel 6.12 --expect 'timed out' 'recovery: two reattaches at once, one keeper' reattached_twice_at_once
