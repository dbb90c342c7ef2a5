#!/bin/sh
# Writes settings.mk, only if it would change: where the Erlang headers are, and a fingerprint of
# compiler, target and flags, so that make builds anew when one of them is another. Says in one
# sentence what is missing. Changes nothing else. Environment: CC ERTS_INCLUDE_DIR FLAGS. Where
# ERTS_INCLUDE_DIR is none, the object is built without what a BEAM needs, and without its headers.
#   settings.sh [FILE]      FILE: settings.mk
set -eu
file=${1:-settings.mk}

stop() {
    echo "mtrace: $1" >&2
    exit 1
}

command -v "${CC%% *}" >/dev/null 2>&1 ||
    stop "no C compiler ($CC): install one, on Debian: apt-get install gcc"

dir=${ERTS_INCLUDE_DIR:-detect}
if [ "$dir" = detect ]; then
    command -v erl >/dev/null 2>&1 ||
        stop "erl is not on the PATH: install Erlang (Debian: apt-get install erlang-dev), set ERTS_INCLUDE_DIR to the folder of erl_nif.h, or, to trace programs that are no BEAM, to none"
    dir=$(erl -noshell -eval \
        'io:put_chars(filename:join([code:root_dir(), "usr", "include"])), halt().')
fi
for=beam
[ "$dir" != none ] || for=any
[ "$for" = any ] || [ -f "$dir/erl_nif.h" ] ||
    stop "no erl_nif.h in $dir: install the Erlang headers, on Debian: apt-get install erlang-dev"

# Asks the compiler about one header: what it is for, and the package that has it.
header() {
    printf '#include <%s>\nint main(void) { return 0; }\n' "$1" |
        $CC -fsyntax-only -x c - 2>/dev/null ||
        stop "the compiler finds no <$1>: on Debian: apt-get install $2"
}
header stdlib.h libc6-dev
header libiberty/demangle.h libiberty-dev
header elfutils/libdw.h libdw-dev

new=$file.$$
trap 'rm -f "$new"' EXIT
{
    echo "# Written by settings.sh."
    echo "MT_ERTS_INCLUDE_DIR = $dir"
    echo "MT_FOR = $for"
    echo "# $CC: $($CC --version | head -n 1) for $($CC -dumpmachine)"
    echo "# $FLAGS"
    [ "$for" = any ] || grep -E 'define ERL_NIF_(MAJOR|MINOR)_VERSION' "$dir/erl_nif.h" | sed 's/^/# /'
} >"$new"
cmp -s "$new" "$file" 2>/dev/null || mv -f "$new" "$file"
