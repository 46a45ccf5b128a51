#!/bin/sh
# A Python environment of these wheels, by the lock files beside them:
#   make_environment.sh PYTHON WHEELS_TAR FOLDER
# Nothing is asked of a package index and nothing resolved: what to install was decided when the
# lock was made, and each file's hash was checked when the wheels were (one that was built there
# has a hash of its own).
set -eu
umask 022
python=$1 wheels=$2 folder=$3

# beside the environment: on the same disk uv links files instead of copying them
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/wheels"
tar -C "$work/wheels" -xf "$wheels"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip --disable-pip-version-check install --quiet --no-index --no-deps \
    --no-cache-dir "$work"/wheels/uv-*.whl
# Compiled now, as the parts may not write there.
"$folder/bin/uv" pip install --quiet --python "$folder/bin/python" --no-config --offline \
    --no-index --find-links "$work/wheels" --no-deps --no-verify-hashes \
    --cache-dir "$work/cache" --link-mode hardlink --compile-bytecode \
    -r "$work/wheels/requirements.lock" -r "$work/wheels/requirements-uv.lock"
# A library that the machine lacks shows here, not when the first part starts.
"$folder/bin/python" -c 'import celery, psycopg, redis, sklearn'
touch "$folder/.complete"
