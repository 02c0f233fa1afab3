# The processes behind a mount: whose they are, what of them can be seen, what they cost; and what a reattach of a
# living one does.

# Whoever waits for the end of the output doesn't wait for the end of the mount.
returns_at_once() { # METHOD
    local said server keeper
    mkdir m
    said=$("$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/plain" m 2>&1)
    equal "$said" ''
    pids_of nerofs-keeper
    keeper=${pids[0]}
    pids_of nerofs-server
    server=${pids[0]}
    equal "$(readlink "/proc/$keeper/fd/0" "/proc/$keeper/fd/1" "/proc/$keeper/fd/2" "/proc/$keeper/cwd")" \
        $'/dev/null\n/run/nerofs/log\n/run/nerofs/log\n/' "keeper's stdio and directory"
    equal "$(readlink "/proc/$server/fd/0" "/proc/$server/fd/1" "/proc/$server/fd/2" "/proc/$server/cwd")" \
        $'/dev/null\n/run/nerofs/log\n/run/nerofs/log\n/' "server's stdio and directory"
    umount m
}

session_of() { # PID: into $session
    local stat
    read -r stat <"/proc/$1/stat"
    read -r _ _ _ session _ <<<"${stat##*) }"
}

# The caller's Ctrl-C is none of theirs.
own_sessions() { # METHOD
    local session ours name
    mkdir m
    setsid bash -c '"$@"; kill -INT 0; kill -HUP 0' - \
        "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/plain" m || true
    session_of $BASHPID
    ours=$session
    for name in nerofs-keeper nerofs-server; do
        pids_of $name
        equal ${#pids[@]} 1 "number of $name"
        session_of "${pids[0]}"
        equal "$session" "${pids[0]}" "session of $name"
        [[ $session != "$ours" ]] || fail "$name is in the caller's session"
    done
    probe_mount m
    umount m
}

status_line() { # PID NAME: of /proc/PID/status, into $value
    local line
    value=''
    while read -r line; do
        if [[ $line == "$2":* ]]; then read -r value <<<"${line#*:}"; fi
    done <"/proc/$1/status"
}

nothing_to_see() { # METHOD
    local name pid user environment
    mkdir m
    cp "$images/plain" secret-name
    try 0 "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1,nosuid,noatime,nbd.connections=3" secret-name m
    for name in nerofs-keeper nerofs-server; do
        pids_of $name
        pid=${pids[0]}
        equal "$(tr '\0' ' ' <"/proc/$pid/cmdline")" "$name " "command line of $name"
        environment=$(tr '\0' ' ' <"/proc/$pid/environ")
        equal "${environment/PATH=\/usr\/sbin:\/usr\/bin:\/sbin:\/bin /}" '' "environment of $name"
        equal "$(<"/proc/$pid/oom_score_adj")" -1000 "OOM score of $name"
    done
    user=$(id -u nerofs 2>/dev/null || id -u nobody)
    status_line "$pid" Uid
    equal "$value" "$user"$'\t'"$user"$'\t'"$user"$'\t'"$user" "the server's users"
    status_line "$pid" Groups
    equal "$value" '' "the server's groups"
    for name in CapInh CapPrm CapEff CapBnd CapAmb; do
        status_line "$pid" $name
        [[ $name == CapBnd ]] || equal "$value" 0000000000000000 "the server's $name"
    done
    status_line "$pid" NoNewPrivs
    equal "$value" 1 "the server's no_new_privs"
    status_line "$pid" Seccomp
    equal "$value" 2 "the server's seccomp mode"
    umount m
}

# After the whole image was read: 12 MiB resident together, 4 of them private.
memory() { # METHOD
    local resident=0 private=0 pid
    mount_nbd "$1" m
    dd if="$device" of=/dev/null bs=1M status=none
    pids_of 'nerofs*'
    equal ${#pids[@]} 2 'number of processes'
    for pid in "${pids[@]}"; do
        status_line "$pid" VmRSS
        ((resident += ${value% kB})) || true
        status_line "$pid" RssAnon
        ((private += ${value% kB})) || true
        status_line "$pid" RssShmem
        ((private += ${value% kB})) || true
    done
    note "$resident KiB resident, $private KiB private"
    ((resident <= 12 * 1024)) || fail "$resident KiB resident"
    ((private <= 4 * 1024)) || fail "$private KiB private"
    umount m
}

reattach_of_living() { # METHOD
    local before
    mount_nbd "$1" m
    pids_of 'nerofs*'
    before="${pids[*]}"
    try 32 "$bin/nerofs" reattach "$device"
    says "nerofs: cannot reattach '$device': $2"
    try 32 "$bin/mount.erofs" --reattach "$device"
    says "mount.erofs: cannot reattach '$device': $2"
    try 0 "$bin/nerofs" reattach --all
    says ''
    equal "$out" ''
    pids_of 'nerofs*'
    equal "${pids[*]}" "$before" processes
    probe_mount m
    umount m
}

reattach_of_others() {
    local record
    modprobe nbd
    modprobe loop
    try 0 "$bin/nerofs" reattach --all
    says ''
    equal "$out" ''
    try 32 "$bin/nerofs" reattach /dev/nbd5
    says "nerofs: cannot reattach '/dev/nbd5': nbd5 has no record: it wasn't attached by nerofs"
    try 32 "$bin/nerofs" reattach /dev/nbd99
    says "nerofs: cannot reattach '/dev/nbd99': there is no such device"
    try 1 "$bin/nerofs" reattach /dev/loop0
    says "nerofs: cannot reattach '/dev/loop0': '/dev/loop0' is not an nbd device"
    # One that somebody connected by ioctl, as nbd-client does: nothing tells whose it is.
    mount_nbd ioctl m
    record=$(echo /run/nerofs/*.record)
    mv "$record" record
    try 32 "$bin/nerofs" reattach "$device"
    says "nerofs: cannot reattach '$device': ${device#/dev/} has no record: it wasn't attached by nerofs"
    mv record "$record"
    umount m
    # One whose record is damaged.
    mount_nbd netlink m
    record=$(echo /run/nerofs/*.record)
    cp "$record" record
    echo 'nonsense' >"$record"
    try 32 "$bin/nerofs" reattach "$device"
    says "nerofs: cannot reattach '$device': '$record': not a recovery file of nerofs or erofs-utils"
    cp record "$record"
    probe_mount m
    umount m
}

for method in netlink ioctl; do
    add "processes: \$(mount.erofs) returns at once, $method" returns_at_once $method
    add --kernel 6.12 "processes: sessions of their own, $method" own_sessions $method
    add --kernel 6.12 "processes: nothing to see, no privileges, $method" nothing_to_see $method
    add "processes: memory after the whole image was read, $method" memory $method
done
add 'reattach: of what is being served, netlink' reattach_of_living netlink 'nbd0 is being served; nothing was changed'
add --kernel 6.12 'reattach: of what is being served, ioctl' reattach_of_living ioctl \
    "a device attached by ioctl ends with its keeper and can't be reattached"
add --kernel 6.12 'reattach: of what is not ours, or not connected' reattach_of_others
