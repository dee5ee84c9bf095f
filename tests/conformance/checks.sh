# shellcheck shell=bash
# The checks, one function each, sourced by ./run. They start in a copy of the collection ($COPY), with `set -e`.

prepare_environment() {
  local entry path=''
  # A copy outside the repository: ansible-test wants .../ansible_collections/NAMESPACE/NAME, refuses a link there,
  # and silently tests nothing in a folder that git ignores.
  # shellcheck disable=SC2153  # ./run makes it
  COLLECTIONS=$WORK/tree
  COPY=$COLLECTIONS/ansible_collections/ablestack/kvm
  # What is slow to make and belongs to no clone.
  SHARED_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ablestack-kvm
  # A version manager's shims answer for Pythons that are not there, and ansible-test believes them.
  IFS=: read -ra entries <<<"$PATH"
  for entry in "${entries[@]}"; do
    case $entry in */shims | '') ;; *) path=$path:$entry ;; esac
  done
  export PATH=$ROOT/.venv/bin$path
  export ANSIBLE_COLLECTIONS_PATH=$COLLECTIONS NO_COLOR=1 ANSIBLE_NOCOLOR=1
  unset PYTHONPATH VIRTUAL_ENV
}

copy_collection() { # TO: what git knows or would add; a file deleted but not yet committed is passed over
  mkdir -p "$1"
  git -C "$ROOT" ls-files -zco --exclude-standard |
    tar -C "$ROOT" -c --null --ignore-failed-read -T - 2>/dev/null | tar -x -C "$1"
  [ -f "$1/galaxy.yml" ] || { echo "conformance: cannot copy the collection; is $ROOT a git clone?" >&2 && return 1; }
}

check_ruff() { ruff check --cache-dir "$ROOT/.cache/ruff" .; }

check_ruff_format() { ruff format --cache-dir "$ROOT/.cache/ruff" --diff .; }

check_mypy() { mypy --cache-dir "$ROOT/.cache/mypy"; }

check_yamllint() { yamllint --strict .; }

check_ansible_lint() { ansible-lint --offline --profile production --strict; }

check_changelog() { antsibull-changelog lint; }

# What a release would make of the fragments that are committed.
check_release() { "$ROOT/requirements/release.sh" --dry-run; }

check_docs() { antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=all .; }

# Everything as HTML, without a warning, and every link between the pages.
check_site() { "$ROOT/docs/site/build.sh" "$WORK/site"; }

check_shellcheck() {
  local scripts
  command -v shellcheck || { echo "install the Debian package shellcheck (./dev setup does)" && return 1; }
  # not those of the guest image: they are for its tiny shell, and are tested by booting it
  mapfile -t scripts < <(grep -rlE --exclude-dir={output,tiny-root} --exclude='*.py' -m1 '^#!.*\b(ba)?sh\b|^# shellcheck shell=' . | sort)
  printf '%s\n' "${scripts[@]}"
  shellcheck --severity=warning --exclude=SC2119,SC2120 --external-sources --source-path="$COPY" "${scripts[@]}"
}

check_sanity() {
  local version
  version=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  sanity --python "$version"
}

# Compile and import the modules with every Python that is here and that they support.
check_sanity_all_pythons() {
  local folder own
  for folder in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin; do
    [ -x "$folder/python3" ] && PATH=$PATH:$folder
  done
  # in a copy of its own: ansible-test leaves its results in the tree
  own=$WORK/pythons/ansible_collections/ablestack/kvm
  copy_collection "$own"
  cd "$own" || return
  ANSIBLE_COLLECTIONS_PATH=$WORK/pythons sanity --test compile --test import
}

sanity() { # OPTION...
  local log
  log=$(mktemp -p "$WORK")
  provide_get_pip
  ansible-test sanity --color no "$@" 2>&1 | tee "$log"
  # This is how ansible-test says that it found no collection to test; it exits with 0 then.
  if grep -F 'All targets skipped' "$log" || ! grep -q '^Running sanity test' "$log"; then
    echo "ansible-test has tested nothing"
    return 1
  fi
}

# ansible-test would download get-pip.py; where it finds one it takes that.
provide_get_pip() {
  local version file
  version=$(python -c 'import inspect, re; from ansible_test._internal import python_requirements as r
print(re.search(r"pip=\W([\d.]+)", inspect.getsource(r.get_venv_packages)).group(1).replace(".", "_"))')
  file=$HOME/.ansible/test/cache/get_pip_$version.py
  [ -s "$file" ] || install -D -m 644 "$ROOT/tests/conformance/get_pip.py" "$file"
}

# Built where the developer would, amid caches and virtual environments, so that build_ignore is put to the test.
check_build() {
  local out=$WORK/build tarball
  ansible-galaxy collection build "$ROOT" --output-path "$out"
  tarball=$(echo "$out"/ablestack-kvm-*.tar.gz)
  tar -tzf "$tarball" | grep -v '/$' | grep -vxE 'MANIFEST.json|FILES.json' | sort >"$WORK/shipped"
  git -C "$ROOT" -c core.quotePath=false ls-files -co --exclude-standard | sort -u >"$WORK/known"
  if comm -23 "$WORK/shipped" "$WORK/known" | grep .; then
    echo "these files are in the tarball, but git does not know them: add them to build_ignore in galaxy.yml"
    return 1
  fi
  # where the tree that we check is not seen
  export ANSIBLE_COLLECTIONS_PATH=$WORK/installed
  ansible-galaxy collection install "$tarball" --offline
  ansible-galaxy collection verify --offline ablestack.kvm
  use_installed "$WORK/installed"
}

# What was installed is used from an empty folder: every document can be read, and a playbook finds modules and roles.
use_installed() { # FOLDER
  local work=$WORK/use kind names playbooks
  mkdir "$work"
  cd "$work" || return
  for kind in module inventory connection role; do
    mapfile -t names < <(ansible-doc -t "$kind" -l ablestack.kvm | sed -n 's/^\(ablestack\.kvm\.[^ ]*\).*/\1/p')
    [ "${#names[@]}" -gt 0 ] || { echo "nothing of the kind $kind is found" && return 1; }
    ansible-doc -t "$kind" "${names[@]}" >/dev/null
  done
  mapfile -t playbooks < <(cd "$1/ansible_collections/ablestack/kvm/playbooks" && printf 'ablestack.kvm.%s\n' *.yml)
  ansible-playbook -i localhost, --syntax-check "${playbooks[@]%.yml}"
  cat >report.yml <<'YAML'
- name: Use it
  hosts: localhost
  gather_facts: false
  tasks:
    - name: List what libvirt's test driver has
      ablestack.kvm.ablestack_vm_info:
        uri: test:///default
        include_unmanaged: true
      register: found
    - name: See that there is one
      ansible.builtin.assert:
        that: found.vms | map(attribute='name') == ['test']
YAML
  ansible-playbook -i localhost, -c local -e "ansible_python_interpreter=$ROOT/.venv/bin/python" report.yml
}

# An environment for ansible-navigator can be described; building it needs a container engine.
check_execution_environment() {
  local found name
  ansible-builder create --file execution-environment.yml --context "$WORK/environment" --output-filename Containerfile
  grep -q ablestack.kvm "$WORK/environment/_build/requirements.yml"
  found=$(ansible-builder introspect "$COLLECTIONS")
  for name in $(sed -n 's/^\([a-z][a-z-]*\)[>=].*/\1/p' requirements.txt) libvirt-dev libvirt-devel; do
    echo "$found" | grep -qF "'$name" || { echo "no environment would have $name" && return 1; }
  done
  # for this kind of system there is a package for each purpose; bindep fails on a line that it cannot read
  [ -n "$(bindep --file bindep.txt --list_all newline)" ]
}

# Unit and functional tests, and Ansible's own check of imports, on the oldest ansible-core that meta/runtime.yml allows,
# and on the newest that there is for a Python of this machine.
check_core_lowest() {
  local lowest
  lowest=$(sed -n 's/^requires_ansible: ">=\([0-9]*\.[0-9]*\).*/\1/p' meta/runtime.yml)
  on_core "ansible-core==$lowest.*" "$ROOT/.venv/bin/python"
}

check_core_highest() {
  local folder newest=$ROOT/.venv/bin/python
  for folder in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin /usr/local/bin /usr/bin; do
    for python in "$folder"/python3.1[0-9]; do
      if [ -x "$python" ] && "$python" -c 'import ensurepip, venv' && is_newer "$python" "$newest"; then
        newest=$python
      fi
    done
  done
  on_core "ansible-core" "$newest"
}

is_newer() { [ "$(python_version "$1" 1)" -gt "$(python_version "$2" 1)" ]; }
python_version() { "$1" -c "import sys; print(sys.version_info[1] if ${2:-0} else '%d.%d' % sys.version_info[:2])"; }

on_core() { # REQUIREMENT PYTHON
  local venv own
  venv=$SHARED_CACHE/$(echo "$1" | tr -c 'a-z0-9.\n' -)-$(python_version "$2")
  "$venv/bin/python" -m pip --version || "$2" -m venv --clear "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --upgrade "$1" -r requirements/test.txt
  own=$WORK/${FUNCNAME[1]}/ansible_collections/ablestack/kvm
  copy_collection "$own"
  cd "$own" || return
  export PATH=$venv/bin:$PATH ANSIBLE_COLLECTIONS_PATH=$WORK/${FUNCNAME[1]}
  ansible --version
  "$venv/bin/python" -m pytest -q -n 2 -p no:cacheprovider tests/unit tests/functional
  sanity --test import --python "$(python_version "$2")"
}

# What Galaxy itself runs on an upload. Its requirements are at odds with ours, hence an environment of its own.
check_galaxy_importer() {
  local venv=$SHARED_CACHE/galaxy-importer out=$WORK/import
  if ! "$venv/bin/python" -c 'import galaxy_importer'; then
    python -m venv --clear "$venv"
    "$venv/bin/pip" install -q 'ansible-core==2.19.*' galaxy-importer
  fi
  ansible-galaxy collection build "$ROOT" --output-path "$out"
  cd "$out" || return
  PATH=$venv/bin:$PATH "$venv/bin/python" -m galaxy_importer.main "$out"/ablestack-kvm-*.tar.gz 2>&1 | tee importer.log
  # it returns 0 whatever it finds
  ! grep -E '^(WARNING|ERROR)' importer.log
}
