#!/bin/sh
# The wheels of a commit's lock files in one tar, whole or not at all:
#   make_wheels.sh PYTHON CHECKOUT COMMIT TAR
# pip's own settings say where packages come from; the lock's hashes say what is the right file.
# What a package index has as source only is built here, so that hosts need no compiler.
set -eu
umask 022
python=$1 checkout=$2 commit=$3 archive=$4

work=$(mktemp -d "$archive.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/wheels"
for lock in requirements.lock requirements-uv.lock; do
    git -C "$checkout" show "$commit:$lock" >"$work/wheels/$lock"
    # Hosts have the builder's Python, 3.11 say, but not to the third digit: what the lock has for
    # some of 3.11.x only comes along, and each host decides.
    sed -E "s/python_full_version *[<>=!]+ *'[0-9]+\.[0-9]+\.[0-9]+'/python_version >= '3'/g" \
        "$work/wheels/$lock" >"$work/$lock"
done
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check wheel --quiet --no-deps \
    --require-hashes --wheel-dir "$work/wheels" \
    -r "$work/requirements.lock" -r "$work/requirements-uv.lock"
# The same wheels make the same tar: a copy that is there already is not sent again.
tar -C "$work/wheels" --sort=name --owner=0 --group=0 --numeric-owner --mode=0644 \
    --mtime=@0 -cf "$work/tar" --no-recursion $(cd "$work/wheels" && ls)
mv "$work/tar" "$archive"
