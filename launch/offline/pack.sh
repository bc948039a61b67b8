#!/usr/bin/env bash
# Pack a folder for a GPU host without network: one tar file in chunks, with checksums.
#   bash pack.sh CONTENT OUT CHUNK_MB       chunks of CHUNK_MB * 10^6 bytes, the last one shorter
set -euo pipefail
content=$1 out=$2 chunk_mb=$3
mkdir -p "$out"
rm -f "$out"/bundle.tar.* # a chunk of an earlier bundle would be joined to the new ones
# Wheels are compressed already, so the tar file is not.
tar -C "$content" --sort=name -cf - . |
  split --bytes="${chunk_mb}MB" --numeric-suffixes --suffix-length=5 - "$out/bundle.tar."
cp "$(dirname "${BASH_SOURCE[0]}")/install.sh" "$out/"
cd "$out"
sha256sum bundle.tar.* install.sh > SHA256SUMS
