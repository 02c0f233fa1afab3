# Images of tar layers over NBD: one device for all of them, and the tree that an unpacker would leave.

serve_layers() {
    local list='' file
    [[ -e $images/layers.manifest ]] || skip "the host can't unpack the layers (its log says why)"
    while read -r file; do list+=${list:+,}$images/$file; done <"$images/layers.stored"
    start_origin --image "team/layers:1=$list" "$@"
    reference=${reference/team\/tree/team\/layers}
}

# As umoci leaves them; the time of the root is its own business (tests/support/layers.sh).
is_what_umoci_unpacks() {
    "$bin/tree_manifest" --nanoseconds m | awk '$1 == "." { sub(/mtime=[^ ]*/, "") } { print }' >"$scratch/manifest"
    cmp -s "$images/layers.manifest" "$scratch/manifest" ||
        fail "the tree is another one:"$'\n'"$(diff "$images/layers.manifest" "$scratch/manifest" | head -n 20)"
}

layers_mounted() { # METHOD
    serve_layers --delay 5
    mount_remote "$reference" "nbd.method=$1"
    is_what_umoci_unpacks
    umount m
    nothing_left
    # Again: nothing but the manifest is asked for.
    : >"$scratch/requests"
    mount_remote "$reference" "nbd.method=$1"
    is_what_umoci_unpacks
    ! grep -q /blobs/ "$scratch/requests" || fail "$(<"$scratch/requests")"
    umount m
    kill $origin
}

layers_killed() {
    serve_layers --delay 5
    mount_remote "$reference"
    umount m
    nothing_left
    rm -rf cache/blobs # the indexes are left: the content comes as it is read
    mount_remote "$reference" nbd.timeout=5
    pids_of nerofs-keeper nerofs-server nerofs-fetcher
    kill -KILL "${pids[@]}"
    try 0 "$bin/nerofs" reattach "$device"
    is_what_umoci_unpacks
    umount m
    kill $origin
}

# Blocks of 512 bytes are for Linux 6.4 and later; layers aren't read to find that out.
layers_refused() {
    modprobe loop # which the kernel is asked by
    rm -f "$scratch/requests"
    serve_layers
    mkdir m
    try 32 "$bin/mount.erofs" -t erofs.nbd -o "cache.dir=$PWD/cache" "$reference" m
    says_like 'mount.erofs: cannot mount*; the image needs Linux 6.4 or later (*)'
    ! grep /blobs/ "$scratch/requests" || fail "layers were asked for"
    nothing_left
    # Without a mount they are of use here, too.
    try 0 "$bin/nerofs" ls -o "cache.dir=$PWD/cache" "$reference"
    [[ $out ]] || fail "nothing is listed"
    kill $origin
}

# A record that the peer left of an image in a registry, with a login.
peer_image() {
    local digest
    modprobe nbd
    mkdir -p /var/run/erofsmount/nbd m
    start_origin --basic user:pass
    reference=${reference#docker://}
    device=/dev/$("$bin/peer_attach" /var/run/erofsmount/nbd/mountnbd_Ab3dEf "$images/$image")
    index=${device#/dev/nbd}
    digest=$(sha256sum <"$images/$image")
    echo "OCI_NATIVE_BLOB $reference linux/amd64 sha256:${digest%% *} dXNlcjpwYXNz" >/var/run/erofsmount/nbd/mountnbd_Ab3dEf
    try 0 "$bin/mount.erofs" --reattach "$device"
    mount -i -t erofs "$device" m
    probe_mount m
    ! grep -q dXNl /run/nerofs/*.record || fail "the login is in the record"
    umount m
    try 0 "$bin/nerofs" disconnect "$device"
    kill $origin
}

for method in netlink ioctl; do add --kernel 6.12 --seconds 240 "layers: an image of twelve, $method" layers_mounted $method; done
add --kernel 6.12 --seconds 240 --expect 'timed out' 'layers: all killed, reattach goes on by ranges' layers_killed
add --kernel 6.12 --seconds 240 --expect 'timed out' "layers: from the peer's record of an image" peer_image
add --kernel 6.1 --seconds 240 'layers: this kernel is told to be too old' layers_refused
