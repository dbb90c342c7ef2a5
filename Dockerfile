# A machine to build and test Mtrace on: Debian's own Elixir and Erlang. See docker.sh.
FROM docker.io/library/debian:12-slim

ENV LANG=C.UTF-8
COPY bin/setup /usr/local/bin/mtrace-setup
RUN mtrace-setup test && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends git ca-certificates tini >/dev/null \
    && rm -rf /var/lib/apt/lists/*
# tini: Ctrl-C ends a command, whatever it is. prlimit: a BEAM that may open as many files as Docker
# allows on some systems takes 1.6 GB.
ENTRYPOINT ["tini", "-g", "--", "prlimit", "--nofile=1024"]
