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
for lock in requirements.lock requirements-uv.lock; do
    git -C "$checkout" show "$commit:$lock" >"$work/$lock"
done
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check wheel --quiet --no-deps \
    --require-hashes --wheel-dir "$work/wheels" \
    -r "$work/requirements.lock" -r "$work/requirements-uv.lock"
# The same wheels make the same tar: a copy that is there already is not sent again.
tar -C "$work/wheels" --sort=name --owner=0 --group=0 --numeric-owner --mode=0644 \
    --mtime=@0 -cf "$work/tar" --no-recursion $(cd "$work/wheels" && ls)
mv "$work/tar" "$archive"
