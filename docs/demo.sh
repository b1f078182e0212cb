#!/usr/bin/env bash
# Registers a client with a server on this machine, sends a file and compares what was stored.
set -euo pipefail
BIN=$(cd "${BIN:?directory of the Python that has the packages}" && pwd)
work=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT
say() { printf '\n== %s\n' "$*"; }

say "Starting a server on SQLite in a temporary directory"
: > "$work/server.out"
"$BIN/eft-server" --port 0 --data "$work/data" > "$work/server.out" 2> "$work/server.log" &
server=$!
for _ in $(seq 100); do
  port=$(sed -n 's/^listening on .* port \([0-9]*\),.*/\1/p' "$work/server.out")
  [ -n "$port" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$work/server.log"; exit 1; }
  sleep 0.1
done
[ -n "$port" ] || { echo "the server does not start"; cat "$work/server.log"; exit 1; }
cat "$work/server.out"

say "Sending a file of 5 MB as a new client"
mkdir "$work/client"
head -c 5000000 /dev/urandom > "$work/client/report.bin"
printf '127.0.0.1:%s\nAlice\nreport.bin\n' "$port" > "$work/client/transfer.info"
sed 's/^/transfer.info: /' "$work/client/transfer.info"
(cd "$work/client" && "$BIN/eft-client" --verbose)

say "Sending it again: the client is known now and reconnects"
(cd "$work/client" && "$BIN/eft-client" --verbose)

say "What the server keeps"
"$BIN/eft-server" --data "$work/data" clients list
"$BIN/eft-server" --data "$work/data" files list

say "Comparing with the original"
"$BIN/eft-server" --data "$work/data" files export "$work/out"
cmp "$work/client/report.bin" "$work/out/Alice/report.bin"
echo "the bytes are equal"
read -r expected _ < <(cksum < "$work/client/report.bin")
"$BIN/eft-server" --data "$work/data" files list --json | grep -F "\"cksum\": $expected" > /dev/null
echo "the checksum in the database equals the system's cksum: $expected"

say "Stopping the server"
kill -TERM "$server"
wait "$server"
server=
sed 's/^/server: /' "$work/server.log"
echo
echo "demo finished: registered, encrypted, sent, verified, stored"
