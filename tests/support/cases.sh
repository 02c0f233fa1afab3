# For tests that are shell scripts: a file defines functions test_*, sources this, and ends with `run_case "$@"`. CMake
# registers each function by itself (tests/shell_tests.cmake).
#
#     FILE            runs all of its cases
#     FILE test_NAME  runs one; exit status 0, 1, or 77 after a line "SKIP: why"
#
# A case runs with `set -e` in an empty directory, which is removed. $bin has the programs; NEROFS_BIN says where.
set -euo pipefail

bin=${NEROFS_BIN:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../../build/dev/bin" && pwd)}
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
export LC_ALL=C.UTF-8

fail() { # MESSAGE...
    printf '%s\n' "$*" >&2
    exit 1
}

skip() { # WHY
    echo "SKIP: $*"
    exit 77
}

equal() { # ACTUAL EXPECTED [WHAT]
    if [[ $1 == "$2" ]]; then return; fi
    fail "${3:-text} is"$'\n'"  '$1'"$'\n'"instead of"$'\n'"  '$2'"
}

like() { # ACTUAL PATTERN [WHAT]; a pattern of the shell
    # shellcheck disable=SC2053
    if [[ $1 == $2 ]]; then return; fi
    fail "${3:-text} is"$'\n'"  '$1'"$'\n'"which is not like"$'\n'"  '$2'"
}

# Runs a command that must exit with this status. Its output is then in $out and $err.
try() { # STATUS COMMAND...
    local status=0
    "${@:2}" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
    out=$(<"$scratch/out")
    err=$(<"$scratch/err")
    if [[ $status == "$1" ]]; then return; fi
    fail "'${*:2}' exited with status $status instead of $1"$'\n'"stdout: $out"$'\n'"stderr: $err"
}

# All that the last command (try) wrote to stderr, to stdout.
says() { equal "$err" "$1" stderr; }
says_like() { like "$err" "$1" stderr; }
prints() { equal "$out" "$1" stdout; }

# A command that must fail, with this status and exactly this on stderr and nothing on stdout.
refuses() { # STATUS TEXT COMMAND...
    try "$1" "${@:3}"
    says "$2"
    prints ''
}

# An image of a small tree: files a and d/b, some 100 KiB.
make_image() { # FILE [MKFS_OPTION]...
    command -v mkfs.erofs >/dev/null || skip "mkfs.erofs isn't installed (package erofs-utils)"
    mkdir -p "$scratch/tree/d"
    echo first >"$scratch/tree/a"
    seq 20000 >"$scratch/tree/d/b"
    mkfs.erofs --quiet "${@:2}" "$1" "$scratch/tree" >"$scratch/mkfs" 2>&1 || fail "mkfs.erofs: $(<"$scratch/mkfs")"
}

# Something to be done at the end of the case, however it ends; the last first.
at_end() { # COMMAND...
    endings+=("$(printf '%q ' "$@")")
}

clean_up() {
    local i
    set +e
    for ((i = ${#endings[@]} - 1; i >= 0; i--)); do eval "${endings[i]}"; done 2>/dev/null
    cd /
    rm -rf --one-file-system "$scratch"
}

cases_of() { declare -F | sed -n 's/^declare -f \(test_\)/\1/p'; }

# One case, in a subshell: its status is told.
in_scratch() { # FUNCTION
    scratch=$(mktemp -d)
    (
        endings=()
        trap clean_up EXIT
        mkdir "$scratch/work"
        cd "$scratch/work"
        if declare -F setup >/dev/null; then setup; fi
        "$1"
    )
}

run_case() { # [FUNCTION]
    local name status bad=0 wrapper=''
    if (($#)); then
        declare -F "$1" >/dev/null || fail "there is no case $1"
        in_scratch "$1"
        return
    fi
    if [[ $0 == */root/* ]]; then wrapper=$source_dir/tests/support/own_mounts; fi # as CMake does it
    for name in $(cases_of); do
        status=0
        # Another process, since errexit is off in whatever stands before ||.
        $wrapper "$0" "$name" || status=$?
        case $status in
            0) echo "ok    $name" ;;
            77) echo "skip  $name" ;;
            *)
                echo "FAIL  $name"
                bad=1
                ;;
        esac
    done
    return "$bad"
}
