# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three hosts of two releases, each over another transport: templates, placement, races, hosts and daemons that die.

Everything runs on the lab's controller, from where a host is one that other machines are reached by, not a socket.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from lab_tests import racing, runs
from lab_tests.lab import SCRIPTS, Lab, wait_for

Module = Callable[..., dict[str, Any]]
HOSTS = ("h1", "h2", "h3")
VM = {"template": "tiny", "compute_offering": "tiny", "networks": ["default"], "start": False}


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    """A lab of its own: h1 and h2 have Debian 12's libvirt, h3 has Debian 13's."""
    lab = Lab(f"/tmp/ablestack-hosts-{os.getpid()}")
    try:
        lab.up(3, debian13=True)
        yield lab
    finally:
        lab.script("down", "--purge")


@pytest.fixture(scope="module")
def catalog(site: Lab) -> dict[str, Any]:
    """One host by ssh, one by TLS, one by its socket."""
    uris = ("qemu+ssh://root@h1/system", "qemu+tls://h2/system", site.uri("h3"))
    return {
        "hosts": [
            {"name": name, "uri": uri, "virt_type": "qemu", "shared_pools": ["shared"]}
            for name, uri in zip(HOSTS, uris)
        ],
        "compute_offerings": {"tiny": {"cpu": 1, "memory": 96}},
        "affinity_groups": {name: {"type": "host-anti-affinity"} for name in "abc"},
        "settings": {"cpu_overprovisioning": 20},
    }


@pytest.fixture(scope="module")
def module(site: Lab, catalog: dict[str, Any]) -> Module:
    """Runs a module on the controller, by ansible-playbook."""
    within = (str(SCRIPTS / "lab.sh"), "ctl")
    env = {"ABLESTACK_LAB": str(site.folder)}
    run = functools.partial(runs.run_module, inventory=site.inventory, within=within, env=env)
    return lambda name, options, **more: run(name, {"catalog": catalog, **options}, **more)


@pytest.fixture(scope="module")
def template(site: Lab, module: Module) -> dict[str, Any]:
    """The template, on every host; what bringing it there returned."""
    return module("ablestack_template", {"name": "tiny", "src": str(site.tiny)})


def on_controller(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command on the controller, with Ansible's environment."""
    env = runs.environment(lab.run / "records", {"ABLESTACK_LAB": str(lab.folder)})
    command = [str(SCRIPTS / "lab.sh"), "ctl", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)


def domains(lab: Lab, hosts: tuple[str, ...] = HOSTS) -> dict[str, set[str]]:
    """The names of all domains, by host."""
    found = {}
    for host in hosts:
        with closing(lab.connect(host)) as connection:
            found[host] = {domain.name() for domain in connection.listAllDomains()}
    return found


def volumes(lab: Lab, host: str, pool: str = "default") -> set[str]:
    """What lies in a pool beside templates."""
    with closing(lab.connect(host)) as connection:
        found = connection.storagePoolLookupByName(pool)
        found.refresh()
        return {name for name in found.listVolumes() if not name.startswith("tmpl-")}


def actions(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {row["host"]: (row["action"], row["shared_with"]) for row in result["actions"]}


def test_hosts_are_seen_over_every_transport(site: Lab, module: Module) -> None:
    hosts = {host["name"]: host for host in module("ablestack_host_info", {})["hosts"]}
    assert [(name, host["uri"].partition(":")[0]) for name, host in hosts.items()] == [
        ("h1", "qemu+ssh"),
        ("h2", "qemu+tls"),
        ("h3", "qemu+unix"),
    ]
    for name, host in hosts.items():
        with closing(site.connect(name)) as connection:
            number = connection.getLibVersion()
            assert host["libvirt_version"] == f"{number // 10**6}.{number // 1000 % 1000}.{number % 1000}"
            assert (host["memory"]["total"], host["cpu"]["total"]) == tuple(connection.getInfo()[1:3])
        assert host["cpu"]["capacity"] == 20 * host["cpu"]["total"]
        assert {pool["name"]: pool["shared_with"] for pool in host["pools"]} == {
            "default": [],
            "local": [],
            "shared": [other for other in HOSTS if other != name],
        }
    assert hosts["h1"]["libvirt_version"] != hosts["h3"]["libvirt_version"]


def test_a_template_is_brought_to_all_and_repaired_where_it_is_damaged(
    site: Lab, module: Module, template: dict[str, Any]
) -> None:
    assert actions(template) == dict.fromkeys(HOSTS, ("copied", ""))
    image = site.run / "h2" / "default" / "tmpl-tiny.qcow2"
    os.truncate(image, image.stat().st_size - 1)
    (site.run / "h3" / "default" / "tmpl-tiny.qcow2").unlink()
    options = {"name": "tiny", "src": str(site.tiny)}
    expected = {"h1": ("none", ""), "h2": ("repaired", ""), "h3": ("repaired", "")}
    assert actions(module("ablestack_template", options, check=True)) == expected
    assert actions(module("ablestack_template", options)) == expected
    for host in HOSTS:
        assert (site.run / host / "default" / "tmpl-tiny.qcow2").read_bytes() == site.tiny.read_bytes()
    again = module("ablestack_template", options)
    assert (again["changed"], actions(again)) == (False, dict.fromkeys(HOSTS, ("none", "")))


def test_a_template_is_copied_once_into_a_shared_pool(site: Lab, module: Module, catalog: dict[str, Any]) -> None:
    shared = {**catalog, "hosts": [{**host, "template_pool": "shared"} for host in catalog["hosts"]]}
    options = {"catalog": shared, "name": "common", "src": str(site.tiny)}
    expected = {"h1": ("copied", ""), "h2": ("shared", "h1"), "h3": ("shared", "h1")}
    assert actions(module("ablestack_template", options, check=True)) == expected
    done = module("ablestack_template", options)
    assert (actions(done), done["template"]["hosts"]) == (expected, list(HOSTS))
    assert module("ablestack_template", options)["changed"] is False
    described = module("ablestack_template", {"catalog": shared, "name": "common", "display_text": "words"})
    assert actions(described) == {**expected, "h1": ("described", "")}
    gone = module("ablestack_template", {"catalog": shared, "name": "common", "state": "absent"})
    assert actions(gone) == {**expected, "h1": ("removed", "")}
    assert list((site.run / "shared").iterdir()) == []


@pytest.mark.usefixtures("template")
def test_nine_vms_apart_in_groups_of_three_land_three_by_three(site: Lab, module: Module) -> None:
    nine = [{"name": f"{group}{number}", "affinity_groups": [group]} for number in (1, 2, 3) for group in "abc"]
    done = module("ablestack_vm_fleet", {"vms": nine, "defaults": VM})
    where = {row["name"]: row["vm"]["host"] for row in done["results"]}
    for group in "abc":
        assert {where[f"{group}{number}"] for number in (1, 2, 3)} == set(HOSTS)
    found = domains(site)
    assert {host: len(names) for host, names in found.items()} == dict.fromkeys(HOSTS, 3)
    assert {name: host for host, names in found.items() for name in names} == where
    assert module("ablestack_vm_fleet", {"vms": nine, "defaults": VM})["changed"] is False

    tenth = {"name": "a4", "affinity_groups": ["a"], **VM}
    for options in (tenth, {**tenth, "host": "h2"}):
        refused = module("ablestack_vm", options, ok=False)
        assert refused["error"]["code"] == "AffinityConflict"
        rejected = {row["host"]: row["reason"] for row in refused["error"]["details"]["rejected"]}
        assert set(rejected) == set(HOSTS)
        named = options.get("host")
        for host, reason in rejected.items():
            expected = "already has 1 of" if named in (None, host) else "is not the host that was asked for"
            assert f"host '{host}' {expected}" in reason
    assert domains(site) == found


@pytest.mark.usefixtures("template")
def test_two_controllers_that_want_one_name_on_two_hosts_make_one_vm(
    site: Lab, catalog: dict[str, Any], tmp_path: Path
) -> None:
    before = domains(site)
    racers = []
    for me, other in (("h1", "h3"), ("h3", "h1")):
        options = {"name": "only", "host": me, **VM}
        job = {"catalog": catalog, "options": options, "folder": str(tmp_path), "me": me, "other": other}
        command = [str(SCRIPTS / "lab.sh"), "ctl", sys.executable, str(Path(racing.__file__)), json.dumps(job)]
        env = runs.environment(tmp_path / "records", {"ABLESTACK_LAB": str(site.folder)})
        racers.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    told = [racer.communicate(timeout=600)[0].strip() for racer in racers]
    assert sorted(told) == ["Conflict", "done"]
    winner, loser = ("h1", "h3") if told[0] == "done" else ("h3", "h1")
    after = domains(site)
    assert after[winner] - before[winner] == {"only"}
    assert after[loser] == before[loser]
    assert [name for name in volumes(site, loser) if "-only-" in name] == []


@pytest.mark.usefixtures("template")
def test_a_daemon_that_dies_in_the_middle_fails_only_its_own_vms(site: Lab, module: Module) -> None:
    names = [f"f{number}" for number in range(24)]
    vms = [{"name": name, "host": HOSTS[number % 3]} for number, name in enumerate(names)]
    # The host's own process is quick enough to end the daemon between two of its VMs.
    script = "until ls /etc/libvirt/qemu/f*.xml; do sleep 0.01; done; kill -9 $(pidof libvirtd)"
    command = [str(SCRIPTS / "lab.sh"), "host", "h2", "nice", "-n", "-20", "timeout", "600", "sh", "-c", script]
    env = {**os.environ, "ABLESTACK_LAB": str(site.folder)}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killer:
        failed = module("ablestack_vm_fleet", {"vms": vms, "defaults": VM}, ok=False)
        assert killer.wait(60) == 0
    rows = {row["name"]: row for row in failed["results"]}
    lost = {name for name, row in rows.items() if row["failed"]}
    assert lost
    assert lost <= {vm["name"] for vm in vms if vm["host"] == "h2"}
    assert {rows[name]["error"]["code"] for name in lost} == {"HostUnavailable"}
    assert failed["summary"]["failed"] == len(lost)
    assert failed["summary"]["made"] == len(names) - len(lost)

    site.host("h2", "sh", "-c", "libvirtd -d -l")
    wait_for(lambda: site.host("h2", "virsh", "uri", check=False).returncode == 0, 120, "the daemon of h2")
    # What was said to be done is there.
    found = domains(site)
    assert {name for name, row in rows.items() if not row["failed"]} <= set().union(*found.values())
    done = module("ablestack_vm_fleet", {"vms": vms, "defaults": VM})
    assert {row["name"]: row["vm"]["host"] for row in done["results"]} == {vm["name"]: vm["host"] for vm in vms}
    kept = {name: row["vm"]["id"] for name, row in rows.items() if not row["failed"]}
    assert kept.items() <= {row["name"]: row["vm"]["id"] for row in done["results"]}.items()
    assert module("ablestack_vm_fleet", {"vms": vms, "defaults": VM})["changed"] is False
    ids = {row["vm"]["id"][:8] for row in done["results"]}
    ours = {name for host in HOSTS for name in volumes(site, host) if name.startswith("vm-f")}
    assert {name.rsplit("-", 2)[1] for name in ours} == ids


@pytest.mark.usefixtures("template")
def test_running_vms_move_to_the_newer_release_and_not_where_they_would_not_run(
    site: Lab, module: Module, catalog: dict[str, Any]
) -> None:
    """From libvirt 9.0 to 11.3 and not back, where the older one lacks the machine or the processor."""
    hosts = [
        {**host, "pool": "shared", "template_pool": "default", "migration_uri": f"qemu+tls://{host['name']}/system"}
        for host in catalog["hosts"]
    ]
    wide = {**catalog, "hosts": hosts}
    modelled = {**catalog, "hosts": [{**host, "cpu_mode": "host-model"} for host in hosts]}
    guest = {**VM, "start": True, "wait": "agent"}

    def run(kind: str, options: dict[str, Any], ok: bool = True, within: dict[str, Any] = wide) -> dict[str, Any]:
        return module(f"ablestack_{kind}", {"catalog": within, **options}, ok=ok)

    def refused(name: str) -> str:
        """What is said of a move to h1, before which nothing was written on either host."""
        before, files = definition(site, "h3", name), volumes(site, "h1") | volumes(site, "h1", "shared")
        told = run("vm_migrate", {"name": name, "host": "h1"}, ok=False)
        assert told["error"]["code"] == "Unsupported"
        assert definition(site, "h3", name) == before
        assert name not in domains(site)["h1"]
        assert volumes(site, "h1") | volumes(site, "h1", "shared") == files
        return str(told["msg"])

    run("vm", {"name": "up", "host": "h1", **guest})
    moved = run("vm_migrate", {"name": "up", "host": "h3"})
    assert (moved["vm"]["host"], moved["vm"]["state"]) == ("h3", "Running")
    site.wait_agent("h3", "up", 180)
    run("vm", {"name": "new", "host": "h3", **VM, "start": True})
    assert "host 'h1' cannot run VM 'new' as it is now" in refused("new")
    assert "machine" in refused("new")
    for name in ("up", "new"):
        run("vm", {"name": name, "state": "expunged", "forced": True})

    # The processor that h3 gives it is more than h1 has, on a machine that both know.
    run("vm", {"name": "cpu", "host": "h1", **VM}, within=modelled)
    run("vm", {"name": "cpu", "host": "h3", "state": "started"}, within=modelled)
    assert "CPU" in refused("cpu")
    assert run("vm_migrate", {"name": "cpu", "host": "h1", "live": False, "forced": True})["vm"]["host"] == "h1"
    run("vm", {"name": "cpu", "state": "expunged", "forced": True})


def definition(lab: Lab, host: str, name: str) -> str:
    with closing(lab.connect(host)) as connection:
        return str(connection.lookupByName(name).XMLDesc())


@pytest.mark.usefixtures("template")
def test_a_host_without_power_fails_only_what_needs_it(
    site: Lab, module: Module, catalog: dict[str, Any], tmp_path: Path
) -> None:
    names = [f"p{number}" for number in (1, 2, 3)]
    three = [{"name": name, "host": host} for name, host in zip(names, HOSTS)]
    module("ablestack_vm_fleet", {"vms": three, "defaults": VM})
    labelled = [{"name": name, "labels": {"seen": "yes"}} for name in names]
    source = tmp_path / "lab.ablestack.yml"
    (tmp_path / "catalog.yml").write_text(yaml.safe_dump(catalog), encoding="utf-8")
    options = {"catalog_file": "catalog.yml", "states": [], "keyed_groups": [{"key": "ablestack_host", "prefix": "on"}]}
    source.write_text(yaml.safe_dump({"plugin": "ablestack.kvm.ablestack", **options}), encoding="utf-8")
    inventory = (str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(source))
    site.script("crash", "h2")
    try:
        told = module("ablestack_host_info", {})
        assert [host["name"] for host in told["hosts"]] == ["h1", "h3"]
        assert list(told["unreachable_hosts"]) == ["h2"]
        failed = module("ablestack_vm_fleet", {"vms": labelled}, ok=False)
        assert [row["failed"] for row in failed["results"]] == [False, True, False]
        assert [row["changed"] for row in failed["results"]] == [True, False, True]
        assert failed["results"][1]["error"]["code"] == "HostUnavailable"
        # A new VM waits for the host, unless the catalog allows it to be made without.
        new = {"name": "q1", "host": "h1", **VM}
        refused = module("ablestack_vm", new, ok=False)
        assert refused["error"]["code"] == "HostUnavailable"
        assert "allow_unreachable" in refused["error"]["hint"]
        assert "q1" not in domains(site, ("h1", "h3"))["h1"]
        settings = {**catalog["settings"], "allow_unreachable": True}
        made = module("ablestack_vm", {**new, "catalog": {**catalog, "settings": settings}})
        assert {row["host"] for row in made["placement"]["rejected"]} == {"h2", "h3"}
        assert "host 'h2' could not be asked" in " ".join(made["warnings"])
        placed = module("ablestack_vm", {"name": "q2", **VM, "catalog": {**catalog, "settings": settings}})["placement"]
        (reason,) = [row["reason"] for row in placed["rejected"] if row["host"] == "h2"]
        assert reason.startswith(("host 'h2' cannot be reached", "host 'h2' did not answer"))
        listing, graph = on_controller(site, *inventory, "--list"), on_controller(site, *inventory, "--graph")
    finally:
        site.script("start", "h2")
    for done in (listing, graph):
        assert done.returncode == 0
        assert "WARNING" in done.stderr
        assert "host 'h2'" in done.stderr
    shown = json.loads(listing.stdout)
    assert {"p1", "p3"} <= set(shown["ablestack"]["hosts"])
    assert "p2" not in shown["_meta"]["hostvars"]
    assert "@on_h1:" in graph.stdout
    assert "|--p1" in graph.stdout
    assert "@on_h2:" not in graph.stdout
    again = module("ablestack_vm_fleet", {"vms": labelled})
    assert [row["changed"] for row in again["results"]] == [False, True, False]
