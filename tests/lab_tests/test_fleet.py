# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet over two real hosts: deployed, changed with one that fails, pruned, expunged."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Callable

import pytest
from lab_tests.lab import Lab

Fleet = Callable[..., dict[str, Any]]
DEFAULTS = {
    "template": "tiny",
    "compute_offering": "tiny",
    "networks": ["default"],
    "ssh_key_pairs": ["lab"],
    "user_data": "#cloud-config\npassword: not-to-be-seen\n",
    "forced": True,
    "wait": "running",
}


@pytest.fixture(scope="module")
def fleet(clean_lab: Lab, run_module: Callable[..., Any]) -> Fleet:
    """Runs ablestack_vm_fleet once; the template is on both hosts."""
    catalog = clean_lab.catalog(
        2,
        compute_offerings={"tiny": {"cpu": 1, "memory": 96}},
        ssh_key_pairs={"lab": clean_lab.public_key},
        affinity_groups={"apart": {"type": "host-anti-affinity"}},
        settings={"cpu_overprovisioning": 20},
    )
    run_module(
        "ablestack_template", {"catalog": catalog, "name": "tiny", "format": "qcow2", "src": str(clean_lab.tiny)}
    )

    def run(vms: list[dict[str, Any]], check: bool = False, ok: bool = True, **options: Any) -> dict[str, Any]:
        given = {"catalog": catalog, "group": "web", "vms": vms, **options}
        done = dict(run_module("ablestack_vm_fleet", given, check=check, diff=True, ok=ok))
        assert "not-to-be-seen" not in str(done)
        return done

    return run


def test_a_fleet_lives_on_two_hosts(clean_lab: Lab, fleet: Fleet) -> None:
    apart = {"affinity_groups": ["apart"]}
    four = [{"name": "w1", **apart}, {"name": "w2", **apart}, {"name": "w3", "start": False}, {"name": "w4"}]
    predicted = fleet(four, check=True, defaults=DEFAULTS)
    done = fleet(four, defaults=DEFAULTS)
    assert predicted["diff"] == done["diff"]
    assert predicted["plan"] == done["plan"]
    assert done["summary"]["made"] == 4
    assert [row["vm"]["state"] for row in done["results"]] == ["Running", "Running", "Stopped", "Running"]
    hosts = [row["vm"]["host"] for row in done["results"]]
    assert set(hosts[:2]) == {"h1", "h2"}
    assert fleet(four, defaults=DEFAULTS)["changed"] is False

    # One of them cannot be changed as asked; the others are.
    changed = [
        {"name": "w1", "state": "stopped"},
        {"name": "w2", "labels": {"tier": "front"}},
        {"name": "w3", "root_disk_size": "1MiB"},
        {"name": "w4", "state": "stopped", "display_name": "Four"},
    ]
    failed = fleet(changed, defaults=DEFAULTS, ok=False)
    assert [row["action"] for row in failed["results"]] == ["changed", "changed", "failed", "changed"]
    assert failed["results"][2]["error"]["code"] == failed["error"]["code"] == "InvalidInput"
    assert failed["summary"]["failed"] == 1

    pruned = fleet([{"name": "w2"}], defaults=DEFAULTS, prune=True)
    assert [(row["name"], row["action"]) for row in pruned["pruned"]] == [
        ("w1", "removed"),
        ("w3", "removed"),
        ("w4", "removed"),
    ]
    assert fleet([{"name": "w2"}], defaults=DEFAULTS, prune=True)["changed"] is False

    names = [{"name": name} for name in ("w1", "w2", "w3", "w4")]
    gone = fleet(names, state="expunged", defaults={"forced": True})
    assert gone["summary"]["removed"] == 4
    for host in ("h1", "h2"):
        with closing(clean_lab.connect(host)) as connection:
            assert connection.listAllDomains() == []
            pool = connection.storagePoolLookupByName("default")
            pool.refresh()
            assert [name for name in pool.listVolumes() if not name.startswith("tmpl-")] == []
