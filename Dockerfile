# A machine to build and test Mtrace on: Debian's own Elixir and Erlang. See docker.sh.
FROM debian:12-slim

ENV LANG=C.UTF-8
COPY bin/setup /usr/local/bin/mtrace-setup
RUN mtrace-setup test && apt-get install -y -qq --no-install-recommends git ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
