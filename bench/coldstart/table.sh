# shellcheck shell=bash disable=SC2034,SC2154 # who sources this has $work and $build, and takes $elapsed
# How the figures of run and guest are kept and shown; beside ../lib.sh.

declare -A figures=()
note() { # NAME VALUE
    figures[$1]+=" $2"
}
figure() { # NAME
    # shellcheck disable=SC2086
    median ${figures[$1]}
}
timed() { # COMMAND...: $elapsed, in seconds
    local begin=${EPOCHREALTIME/./}
    "$@"
    elapsed=$(calculate %.3f "(${EPOCHREALTIME/./} - $begin) / 1e6")
}

heading() {
    printf '  %-34s %8s %8s %8s %8s   %-6s %s\n' "$1" ours pull nbdkit local 'ours/goal' ''
}
row() { # WHAT OURS PULL NBDKIT LOCAL [LIMIT GOAL]
    local ratio='' met=''
    if [[ ${6:-} ]]; then
        ratio=$(calculate %.2f "$2 / $6")
        met=$(calculate %d "$2 <= $6")
        if ((met)); then met='met: '; else met='NOT MET: '; fi
    fi
    printf '  %-34s %8s %8s %8s %8s   %-9s %s\n' "$1" "$2" "$3" "$4" "$5" "$ratio" "${met}${7:-}"
}

status_of() { # FIELD; source_requests: those to the origin
    sed -nE "s/^ *\"$1\": ([0-9]+),?\$/\1/p" "$work/status"
}
look() {
    "$build/bin/nerofs" status --json "$work/dir" >"$work/status"
    sed -i '/"fetched": {/,/}/s/"requests"/"source_requests"/' "$work/status"
}

# What a side did, noted as NAME.job and so on, whoever mounted $work/dir.
job() { chroot "$work/dir" python3 -c 'import numpy, json'; }
list() { find "$work/dir" -ls >"$work/list"; }
every_byte() { find "$work/dir" -xdev -type f -print0 | xargs -0 cat >/dev/null; }
