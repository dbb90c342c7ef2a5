#!/usr/bin/env bash
# Mtrace in a container, with this checkout at its own path: Docker, or else podman.
#
#   ./docker.sh -b            build the image (again, after a change of Dockerfile or bin/setup)
#   ./docker.sh               a shell; bin/run and bin/test work there
#   ./docker.sh 'mix test'    a command
#
# The image is built at first use. What is built inside lies in the checkout's _build, as outside,
# and belongs to the checkout's owner; inside or outside, what the other one left is built anew
# where compiler or Erlang differ.
set -euo pipefail
cd "$(dirname "$0")"
image=mtrace

for engine in docker podman ''; do
    if info=$("$engine" info 2>/dev/null); then break; fi
done
if [ -z "$engine" ]; then
    echo "docker.sh: neither docker nor podman answers here: install or start one of them" >&2
    exit 1
fi

build() { "$engine" build -t "$image" .; }

case ${1-} in
-b)
    build
    exit
    ;;
-*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 1
    ;;
esac
"$engine" image inspect "$image" >/dev/null 2>&1 || build >&2

# The path is the same because it is compiled into what is built; SELinux's labels stay as they are.
options=(--rm -i -v "$PWD:$PWD" -w "$PWD" -e HOME=/tmp --security-opt label=disable)
if [ -t 0 ] && [ -t 1 ]; then options+=(-t); fi
# Without root's rights the engine makes root inside the user outside; with them, we say who it is.
if ! grep -Eq '^ *rootless(: true)?$' <<<"$info"; then
    read -r _ _ user group _ <<<"$(ls -nd .)"
    options+=(-u "$user:$group")
fi
command=(bash)
if [ $# -gt 0 ]; then command+=(-c "$*"); fi
exec "$engine" run "${options[@]}" "$image" "${command[@]}"
