#!/bin/bash
# The AWS SDK for JavaScript at /node_modules: `import` from /var/task walks up to it, NODE_PATH names it for
# `require`. /var/runtime and /opt, where Lambda has it, are mounted over.
# usage: build.sh ROOT, with CACHE_DIR set and the working directory at this part
set -euo pipefail
root=$1

# One install serves every Node.js tree. The key covers what is installed and how it is pruned.
store=$CACHE_DIR/aws-sdk-js/$(cat package-lock.json build.sh | sha256sum | cut -c1-16)
if [ ! -d "$store" ]; then
    work=$(mktemp -d "$CACHE_DIR/aws-sdk-js-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cp package.json package-lock.json "$work/"
    npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund
    # What no running program reads: types, source maps, documentation, and the build for bundlers.
    find "$work/node_modules" -type d \( -name dist-types -o -name .bin \) -prune -exec rm -rf {} +
    find "$work/node_modules" -type f \( -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.map' -o -name '*.md' \) -delete
    mkdir -p "$CACHE_DIR/aws-sdk-js"
    # Another build may have been first: then its result is as good.
    mv -T "$work/node_modules" "$store" || [ -d "$store" ]
fi

cp -a --reflink=auto "$store" "$root/node_modules"
chown -R 0:0 "$root/node_modules"
