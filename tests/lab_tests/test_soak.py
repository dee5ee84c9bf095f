# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit that ends a soak finds whatever should not be there, and the ledger a disk that reads otherwise."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import pytest
from lab_tests.lab import Lab
from soak.host_audit import audit, clear_state
from soak.theirs import put_theirs, theirs
from soak.words import Ledger

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import time_text
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Mark, Owner, Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from support.tasks import Task, network, snapshot, template, vm
from support.worlds import Controller

STATE = "/var/lib/libvirt"


@dataclass(frozen=True)
class Site:
    """A VM that is off, with a data disk, a snapshot and a reservation."""

    lab: Lab
    id: str

    def shell(self, command: str) -> None:
        self.lab.host("h1", "sh", "-c", command)

    @property
    def base(self) -> str:
        return f"/srv/default/vm-web1-{self.id[:8]}-root.qcow2"


def run(catalog: dict[str, Any], task: Task) -> None:
    task.run(Controller(Infrastructure(read_catalog(catalog), open_host), {}))


@pytest.fixture(scope="module")
def site(clean_lab: Lab) -> Site:
    clear_state(clean_lab, "h1")
    catalog = clean_lab.catalog(compute_offerings={"tiny": {"cpu": 1, "memory": 96}})
    run(catalog, template("tiny", src=str(clean_lab.tiny), format="qcow2"))
    run(catalog, network("lan", cidr="10.77.0.0/24"))
    web1 = {"template": "tiny", "compute_offering": "tiny", "networks": [{"name": "lan", "ip": "10.77.0.9"}]}
    run(catalog, vm("web1", **web1, data_disks=[{"name": "data", "size": "64MiB"}], start=False))
    run(catalog, snapshot("s1"))
    with closing(clean_lab.connect("h1")) as connection:
        site = Site(clean_lab, connection.lookupByName("web1").UUIDString())
    assert audit(clean_lab, ["h1"]).problems == []
    return site


FINDS = {
    "overlay": ("cp {base} {folder}-data1.old.qcow2", "rm {folder}-data1.old.qcow2", "is left over"),
    "disk of nobody": ("cp {base} /srv/local/vm-web9-00000000-root.qcow2", "rm /srv/local/vm-web9-*", "is left over"),
    "lost disk": ("mv {base} {base}.away", "mv {base}.away {base}", "is gone"),
    "stranger": ("touch /srv/default/what.new", "rm /srv/default/what.new", "is not known"),
    "torn disk": ("echo > /srv/default/vol-torn.qcow2", "rm /srv/default/vol-torn.qcow2", "is torn"),
    "template": ("echo x >> {template}", "truncate -s -2 {template}", "is not what its descriptor says"),
    "no descriptor": ("cp {template} /srv/local/tmpl-x.qcow2", "rm /srv/local/tmpl-x.qcow2", "x has no descriptor"),
    "open file": ("chmod o+r {base}", "chmod o-r {base}", "is open to everybody"),
    "open state": ("install -D -m 644 /dev/null {state}/swtpm/{id}/s", "rm -r {state}/swtpm/{id}", "open to everybody"),
    "firmware": ("echo > {state}/qemu/nvram/x-00000000_VARS.fd", "rm {state}/qemu/nvram/x-*", "is nobody's"),
    "reservation": (
        "virsh net-update lan add ip-dhcp-host '<host mac=\"52:54:00:00:00:99\" ip=\"10.77.0.99\"/>' --config",
        "virsh net-update lan delete ip-dhcp-host '<host mac=\"52:54:00:00:00:99\" ip=\"10.77.0.99\"/>' --config",
        "is nobody's",
    ),
    "autostart": ("virsh autostart web1", "virsh autostart web1 --disable", "starts with its host: True"),
}  # fmt: skip
"""By kind what is done to the host, what takes it back, and what the audit says of it."""


def test_the_audit_finds_what_should_not_be_there(site: Site) -> None:
    words = {
        "base": site.base,
        "folder": f"/srv/default/vm-web1-{site.id[:8]}",
        "template": "/srv/default/tmpl-tiny.qcow2",
        "state": STATE,
        "id": site.id,
    }
    for kind, (do, undo, finding) in FINDS.items():
        site.shell(do.format(**words))
        problems = audit(site.lab, ["h1"]).problems
        assert any(finding in problem for problem in problems), (kind, problems)
        site.shell(undo.format(**words))
        assert audit(site.lab, ["h1"]).problems == [], kind


def test_the_audit_finds_marks_and_phases(site: Site) -> None:
    elsewhere = Owner("another machine", 1, 1, "token")
    now = time_text(datetime.now(timezone.utc))
    with closing(open_host(HostSpec(name="h1", uri=site.lab.uri("h1")))) as host:
        record = next(host.vm(ref) for ref in host.domains() if ref.id == site.id).record
        for mark, finding in (
            (Mark(since=now, owner=elsewhere), "marked as worked on, by a process that lives"),
            (Mark(since="2001-01-01T00:00:00Z", owner=elsewhere), "marked as worked on, by a process that died"),
            (Mark(Phase.DEPLOYING, since=now), "is left deploying"),
            (Mark(Phase.EXPUNGING, since=now), "is left expunging"),
            (Mark(Phase.DESTROYED, since=now), "web1 is destroyed"),
        ):
            host.set_record(site.id, replace(record, mark=mark))
            assert any(finding in problem for problem in audit(site.lab, ["h1"]).problems), finding
        host.set_record(site.id, replace(record, snapshots=("s1", "s2")))
        assert any("its record ('s1', 's2')" in problem for problem in audit(site.lab, ["h1"]).problems)
        host.set_record(site.id, record)
        host.hold(site.id, Hold(elsewhere, now))
        assert audit(site.lab, ["h1"]).problems == ["h1: web1 is held by a process that lives"]
        host.let_go(site.id, elsewhere.token)
    assert audit(site.lab, ["h1"]).problems == []


def test_the_ledger_finds_a_disk_that_reads_otherwise(clean_lab: Lab, site: Site) -> None:
    ledger = Ledger(clean_lab, ["h1"], "/srv/default")
    nothing = vm("web1")
    assert ledger.check(nothing, {"changed": False}) == []
    ledger.now["vol-data.qcow2"] = "1234"
    assert ledger.check(nothing, {"changed": False}) == ["disk vol-data.qcow2 of web1 reads 0000, not ['1234']"]
    assert ledger.write("4321") == 2
    assert ledger.check(nothing, {"changed": False}) == []
    assert set(ledger.now.values()) == {"4321"}
    ledger.now["vol-other.qcow2"] = "0000"
    assert ledger.check(nothing, {"changed": False}) == ["data disk other is lost"]


def test_what_is_not_ours_is_compared_to_the_letter(clean_lab: Lab) -> None:
    with closing(clean_lab.connect("h2")) as connection:
        put_theirs(clean_lab, "h2", connection)
        before = theirs(clean_lab, "h2", connection)
        assert theirs(clean_lab, "h2", connection) == before
        clean_lab.host("h2", "sh", "-c", "echo x > /srv/theirs/theirs.img")
        connection.networkLookupByName("theirs").destroy()
        connection.lookupByName("theirs").destroy()
        after = theirs(clean_lab, "h2", connection)
    changed = sorted(what for what in before if after[what] != before[what])
    assert changed == ["content", "process", "running domain", "running network", "volume"]
