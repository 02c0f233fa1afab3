# Mounts and unmounts, over and over: nothing accumulates.

# What the kernel can give, in KiB, with its caches dropped: what is free, and what it could drop. (MemAvailable is less
# by half of the page cache or by the low watermark, whichever is smaller, and by what an ended server had locked: some
# 30 MiB, as it happens.)
available_memory() { # VARIABLE
    local name kib rest sum=0
    sync
    echo 3 >/proc/sys/vm/drop_caches
    pause 0.3 # freed by RCU, after a while
    while read -r name kib rest; do
        case $name in
            MemFree: | Buffers: | Cached: | SReclaimable:) ((sum += kib)) ;;
            Shmem:) ((sum -= kib)) ;;
        esac
    done </proc/meminfo
    # Free pages that each processor keeps for itself aren't in MemFree: up to some 15 MiB each.
    while read -r name kib rest; do
        if [[ $name == count: ]]; then ((sum += 4 * kib)); fi
    done </proc/zoneinfo
    printf -v "$1" %s "$sum"
}

one_cycle() { # METHOD
    "$bin/mount.erofs" -t erofs.nbd -o "nbd.method=$1" "$images/$image" m
    [[ -e m/$probe_file ]] || fail "m/$probe_file is missing"
    umount -i m # umount(2) alone
}

# A leak of one page in each cycle is 800 KiB after 200. Without any, the figure was seen to vary by some 1500 KiB
# (page tables, slabs, the log), and the log, which lies in memory, takes 200 bytes a cycle; so 4 MiB, which is 20 KiB
# a cycle: less than a process' kernel stack, a connection's queue, a request pool or a page of the journal each time.
most_lost_kib=4096

cycles() { # METHOD COUNT
    local i before after
    mkdir m
    for ((i = 0; i < 10; ++i)); do one_cycle "$1"; done # warm up
    nothing_left
    available_memory before
    cp /proc/meminfo before
    for ((i = 0; i < $2; ++i)); do one_cycle "$1"; done
    nothing_left
    # The kernel gives back some of it only after a while, the longer the busier the host is; a leak stays.
    for ((i = 0; i < 20; ++i)); do
        available_memory after
        if ((before - after <= most_lost_kib)); then break; fi
        pause 1
    done
    note "$before KiB available before, $after KiB after"
    ((before - after <= most_lost_kib)) ||
        fail "$((before - after)) KiB lost in $2 cycles:"$'\n'"$(diff before /proc/meminfo)"
}

add --kernel 6.12 --seconds 900 'cycles: 200 mounts and unmounts, netlink' cycles netlink 200
add --kernel 6.12 --seconds 900 'cycles: 40 mounts and unmounts, ioctl' cycles ioctl 40
add --kernel 6.1 --seconds 900 'cycles: 40 mounts and unmounts, netlink' cycles netlink 40
add --kernel 6.1 --seconds 900 'cycles: 20 mounts and unmounts, ioctl' cycles ioctl 20
