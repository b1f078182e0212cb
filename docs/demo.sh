#!/usr/bin/env bash
# A server and its clients on this machine: protocol 4 first, then protocol 3, each compared.
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
fingerprint=$(sed -n 's/^certificate //p' "$work/server.out")

say "Making a token for Alice, and files of hers: one of 5 MB and some small ones"
mkdir -p "$work/alice/papers"
head -c 5000000 /dev/urandom > "$work/alice/papers/report.bin"
for n in 1 2 3; do echo "note $n" > "$work/alice/papers/note-$n.txt"; done
(umask 077; "$BIN/eft-server" --data "$work/data" token create --name Alice > "$work/alice/token")

say "Protocol 4: registering with the token; the server's fingerprint is checked"
eft() { (cd "$work/alice" && "$BIN/eft-client" --server "127.0.0.1:$port" --directory "$work/alice/state" "$@"); }
eft register Alice --fingerprint "$fingerprint" --token-file "$work/alice/token"
eft whoami

say "Sending the directory, listing it, fetching it back"
eft put --verbose papers
eft ls -l
eft get -r papers "$work/alice/back"
diff -r "$work/alice/papers" "$work/alice/back/papers"
echo "what came back is equal"

say "Verifying the receipts, which the server signed"
eft receipts verify

say "Protocol 3: the published protocol, for programs that speak it, with a transfer.info"
mkdir "$work/bob"
head -c 5000000 /dev/urandom > "$work/bob/report.bin"
printf '127.0.0.1:%s\nBob\nreport.bin\n' "$port" > "$work/bob/transfer.info"
(cd "$work/bob" && "$BIN/eft-client" --protocol 3 --verbose)

say "What the server keeps"
"$BIN/eft-server" --data "$work/data" clients list
"$BIN/eft-server" --data "$work/data" files list

say "Comparing what is stored with the originals"
"$BIN/eft-server" --data "$work/data" files export "$work/out" > /dev/null
cmp "$work/alice/papers/report.bin" "$work/out/Alice/papers/report.bin"
cmp "$work/bob/report.bin" "$work/out/Bob/report.bin"
echo "the bytes are equal"
read -r expected _ < <(cksum < "$work/bob/report.bin")
"$BIN/eft-server" --data "$work/data" files list --json | grep -F "\"cksum\": $expected" > /dev/null
echo "the protocol-3 checksum in the database equals the system's cksum: $expected"
digest=$(sha256sum < "$work/alice/papers/report.bin" | cut -d ' ' -f 1)
eft stat papers/report.bin | grep -F "$digest" > /dev/null
echo "the protocol-4 digest equals the system's sha256sum: $digest"

say "Stopping the server"
kill -TERM "$server"
wait "$server"
server=
tail -n 2 "$work/server.log" | sed 's/^/server: /'
echo
echo "demo finished: registered, sealed, sent, verified, stored, and fetched back"
