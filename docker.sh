#!/usr/bin/env bash
# Mtrace in a container, with this checkout at /app: Docker, or else podman.
#
#   ./docker.sh -b            build the image (again)
#   ./docker.sh               a shell; bin/run and bin/test work there
#   ./docker.sh 'mix test'    a command
#
# The image is built at first use. What is built inside lies in the checkout's _build, as outside.
set -euo pipefail
cd "$(dirname "$0")"
image=mtrace

for engine in docker podman; do
    if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then break; fi
    engine=
done
if [ -z "$engine" ]; then
    echo "docker.sh: neither docker nor podman answers here: install one of them" >&2
    exit 1
fi

build() { "$engine" build -t "$image" .; }

case ${1-} in
-b) build && exit ;;
-*)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 1
    ;;
esac
"$engine" image inspect "$image" >/dev/null 2>&1 || build

options=(--rm -i -v "$PWD:/app" -w /app)
if [ -t 0 ] && [ -t 1 ]; then options+=(-t); fi
if [ $# -gt 0 ]; then
    exec "$engine" run "${options[@]}" "$image" bash -c "$*"
else
    exec "$engine" run "${options[@]}" "$image" bash
fi
