# What tests with Debian's docker-registry share. Sourced after cases.sh.

start_registry() { # [AUTH]: a part of its configuration
    cat >registry.yml <<END
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $PWD/storage}}
http: {addr: "127.0.0.1:0"}
${1-}
END
    : >registry.log
    docker-registry serve registry.yml >>registry.log 2>&1 &
    at_end kill $!
    local i
    for ((i = 0; i < 400; i++)); do
        if grep -q 'listening on 127.0.0.1:' registry.log; then break; fi
        sleep 0.05
    done
    registry=127.0.0.1:$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' registry.log)
    reference=docker://$registry/team/tree:1
}

# Three layers of some MB each, the tree of which is large/.
large_layers() {
    local i
    for ((i = 1; i <= 3; i++)); do
        mkdir -p large/l$i
        seq $((i * 1000000)) $((i * 1000000 + 400000)) >large/l$i/numbers
        head -c 1000000 /dev/urandom >large/l$i/noise
        tar -C large --owner=0 --group=0 --mtime=@1000000000 -cf layers/$i.tar l$i
    done
}

registry_tool() { python3 "$source_dir/tests/support/registry_tool" "$registry" team/tree "$@"; }

# Bytes of blobs that the registry gave since the last time.
begin_count() { wc -l <registry.log >seen; }
given() {
    sleep 0.2
    tail -n +$(($(<seen) + 1)) registry.log |
        sed -nE 's/.*http.request.method=GET .*http.request.uri="?[^ ]*\/blobs\/.*http.response.written=([0-9]+).*/\1/p' |
        awk '{ sum += $1 } END { print sum + 0 }'
}
