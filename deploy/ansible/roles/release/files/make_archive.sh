#!/bin/sh
# The tree of a commit as an archive, whole or not at all: make_archive.sh CHECKOUT COMMIT ARCHIVE
set -eu
umask 022
checkout=$1 commit=$2 archive=$3

work=$(mktemp -d "$archive.XXXXXX")
trap 'rm -rf "$work"' EXIT
git -C "$checkout" -c tar.umask=0022 archive --format=tar.gz -o "$work/archive" "$commit"
chmod 0644 "$work/archive"
mv "$work/archive" "$archive"
