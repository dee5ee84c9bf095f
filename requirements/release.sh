#!/usr/bin/env bash
# Turns the change fragments into CHANGELOG.md for the version that galaxy.yml names: requirements/release.sh [--dry-run]
# What it changes lies in the work tree afterwards, for you to read and commit; `./dev release` calls it.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

if [ "${1:-}" != --dry-run ] && [ -n "$(git -C "$ROOT" status --porcelain)" ]; then
  echo "release: commit or put aside what you have changed first" >&2
  exit 1
fi
# In a clone of the right name: antsibull-changelog looks at the plugins, and Ansible finds them by their folder.
CLONE=$WORK/ansible_collections/ablestack/kvm
git clone -q "$ROOT" "$CLONE"
cd "$CLONE"
ANSIBLE_COLLECTIONS_PATH=$WORK antsibull-changelog release
antsibull-changelog lint
git add -A
git diff --cached --stat
if [ "${1:-}" = --dry-run ]; then
  cat CHANGELOG.md
  [ -z "$(find changelogs/fragments -name '*.yml')" ]
else
  git diff --cached --binary | git -C "$ROOT" apply
  echo "release: read CHANGELOG.md, commit, tag, then ansible-galaxy collection build" >&2
fi
