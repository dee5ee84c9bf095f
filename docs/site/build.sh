#!/usr/bin/env bash
# All documents and the reference of modules, plugins and roles as HTML: docs/site/build.sh FOLDER. No warning is let
# pass, and afterwards every link between the pages is followed. It needs no network; ./dev docs calls it.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
OUT=$(realpath -m "${1:?the folder to build into}")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# A copy, since the reference is generated into it; a link to a file that git does not know leads nowhere for others.
git -C "$ROOT" ls-files -zco --exclude-standard |
  tar -C "$ROOT" -c --null --ignore-failed-read -T - 2>/dev/null | tar -x -C "$WORK"
mkdir -m 700 "$WORK/reference"
antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --dest-dir "$WORK/reference" ablestack.kvm
# the theme has a table of contents of its own beside each page
sed -i '/^\.\. contents::/,/^$/d' "$WORK"/reference/*.rst
cp "$WORK/docs/site/index.md" "$WORK/index.md"

rm -rf "$OUT"
sphinx-build -q -n -W --keep-going -c "$WORK/docs/site" "$WORK" "$OUT"
rm -rf "$OUT/.doctrees"
python "$WORK/docs/site/check_links.py" "$OUT"
