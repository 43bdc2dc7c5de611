#!/bin/bash
# boto3, as on Lambda, into Python's own site folder, and byte code for it: functions can't write any into a
# read-only root file system.
# usage: build.sh ROOT
set -euo pipefail
root=$1

site=$root/usr/local/lib/python3.13/dist-packages
mkdir -p "$site"
python3 -m pip install --quiet --no-input --disable-pip-version-check --root-user-action=ignore \
    --require-hashes --requirement requirements.txt \
    --python-version 3.13 --implementation cp --only-binary=:all: --no-compile --upgrade --target "$site"
rm -rf "${site:?}/bin"
find "$site" -type d \( -name tests -o -name examples \) -path '*boto*' -prune -exec rm -rf {} +

# The interpreter under the paths that it has on Lambda.
mkdir -p "$root/var/lang/bin"
for name in python3.13 python3 python; do
    ln -sf /usr/bin/python3.13 "$root/var/lang/bin/$name"
done

chroot "$root" /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib/python3.13/dist-packages
chroot "$root" /usr/bin/python3 -c 'import boto3; print("boto3", boto3.__version__)'
