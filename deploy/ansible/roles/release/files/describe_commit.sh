#!/bin/sh
# What a release is made from: describe_commit.sh CHECKOUT REF
# Prints the commit, git's hash of its lock file, the project's version, and then the files of the
# checkout that differ from its HEAD. queues.yaml counts for neither: hosts get it as it stands in the
# checkout, beside the release, and a change of it alone must not restart what does not read it.
set -eu
cd "$1"
model=':(top,exclude)queues.yaml'
named=$(git rev-parse --verify "$2^{commit}")
commit=$(git log -1 --format=%H "$named" -- :/ "$model")
echo "$commit"
git rev-parse --verify "$commit:requirements.lock"
git show "$commit:pyproject.toml" | sed -n 's/^version = "\(.*\)"$/\1/p' | head -n 1
git status --porcelain --untracked-files=no -- :/ "$model"
