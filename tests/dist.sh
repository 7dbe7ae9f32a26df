#!/usr/bin/env bash
# The tests of an sdist against the gatewise that is installed for $PYTHON: in a folder that is no repository, without src.
#     tests/dist.sh dist/gatewise-0.1.0.tar.gz tests/test_registry.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tar -xzf "$1" -C "$folder" --strip-components 1
shift
cd "$folder"
rm -r src
"$PYTHON" -c 'import gatewise; assert "site-packages" in gatewise.__file__, gatewise.__file__'
"$PYTHON" -m pytest -q -n "${DIST_JOBS:-auto}" "$@"
