#!/bin/sh
# What a release is made from: describe_commit.sh CHECKOUT REF
# Prints the commit, git's hash of its lock file, the project's version, and then the files of the
# checkout that differ from its HEAD.
set -eu
cd "$1"
commit=$(git rev-parse --verify "$2^{commit}")
echo "$commit"
git rev-parse --verify "$commit:requirements.lock"
git show "$commit:pyproject.toml" | sed -n 's/^version = "\(.*\)"$/\1/p' | head -n 1
git status --porcelain --untracked-files=no
