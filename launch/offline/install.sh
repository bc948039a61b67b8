#!/usr/bin/env bash
# Install an offline bundle (launch/offline/bundle.py) into the active Python environment. Needs no
# network, and nothing but bash, coreutils, tar and pip.
#   bash install.sh [arguments for pip, such as --target DIR]
# The chunks and SHA256SUMS lie next to this script. PYTHON names another interpreter than `python`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python=${PYTHON:-python}

if ! sha256sum --check --quiet SHA256SUMS; then
  echo "install.sh: a chunk is missing or damaged (named above): copy it again. Nothing was installed." >&2
  exit 1
fi
# A chunk that SHA256SUMS does not name would be joined as well.
listed=$(grep -c '  bundle\.tar\.' SHA256SUMS)
found=$(find . -maxdepth 1 -name 'bundle.tar.*' | wc -l)
if [ "$listed" -ne "$found" ]; then
  echo "install.sh: $found chunks here, $listed in SHA256SUMS: remove those of another bundle." >&2
  exit 1
fi

content=$(mktemp -d)
trap 'rm -rf "$content"' EXIT
cat bundle.tar.* | tar -x -C "$content"
# The list is complete and pinned. --no-deps: what it leaves out, the host has, though perhaps in
# another version than the pins say.
"$python" -m pip install --no-index --no-deps --find-links "$content/wheels" -r "$content/requirements.txt" "$@"
echo "Installed. Try: $python -m sglang_soft.launch_server --help"
