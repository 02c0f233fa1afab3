# A tree of thousands of files, read through the mount, is the tree that the image was made from; for images of every
# kind that Debian's mkfs.erofs can make, and for the samples that other programs made (all but metabox, which neither
# kernel knows: see 30-failures.sh).

tree_is_right() { # METHOD IMAGE
    image=$2
    mount_nbd "$1" m
    "$bin/tree_manifest" --threads 2 m >"$scratch/manifest"
    cmp -s "$images/manifest" "$scratch/manifest" ||
        fail "the tree is not the original:"$'\n'"$(diff "$images/manifest" "$scratch/manifest" | head -n 20)"
    umount m
}

list_tree() { # DIR: in the format of tree.txt; a directory's size depends on the image
    (cd "$1" && find . -type d -printf '%p\td\t%#m\t%U:%G\t%n\t-\t\n' \
        -o -printf '%p\t%y\t%#m\t%U:%G\t%n\t%s\t%l\n') | LC_ALL=C sort
}

sample_is_right() { # METHOD SAMPLE
    image=sample-$2
    mount_nbd "$1" m
    list_tree m >"$scratch/tree"
    sed -E 's/^([^\t]*\td\t.*\t)[0-9]+\t$/\1-\t/' "$images/tree.txt" | LC_ALL=C sort >"$scratch/expected"
    diff "$scratch/expected" "$scratch/tree"
    (cd m && sha256sum --quiet -c "$images/tree.sha256")
    umount m
}

for method in netlink ioctl; do
    for name in plain lz4hc; do
        add --seconds 240 "tree: $name, $method" tree_is_right $method $name
    done
    for name in lz4big packed chunked; do
        add --kernel 6.12 --seconds 240 "tree: $name, $method" tree_is_right $method $name
    done
    add --kernel 6.12 "sample: plain512, $method" sample_is_right $method plain512 # the device has such blocks, too
done
for name in plain chunk legacy lz4 lz4hc64k lz4tail lz4dedupe lz4frag; do
    add "sample: $name" sample_is_right netlink $name
done
for name in deflate zstd lzma pax.tar gnu.tar; do
    add --kernel 6.12 "sample: $name" sample_is_right netlink $name
done
