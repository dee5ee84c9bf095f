# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin in Ansible: names, variables, groups, cache and errors, over hosts in memory."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "inventory" / "ablestack.py"
PROGRAM = Path(__file__).resolve().parents[1] / "support" / "inventory_run.py"
CATALOG = {"catalog_file": "catalog.yml"}
CACHE = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile"}
WEB1 = {
    "name": "web1", "host": "kvm01", "ip": "192.168.122.10", "display_name": "Web {{ 1 }}", "group": "shop",
    "labels": {"role": "web", "owner": "{{ lookup('pipe', 'id') }}"}, "affinity_groups": ["apart"], "template": "tiny",
}  # fmt: skip
WEB2 = {
    "name": "web2", "host": "kvm02", "lease": "192.168.122.11", "labels": {"role": "web"}, "affinity_groups": ["apart"],
}  # fmt: skip
DB1 = {"name": "db1", "host": "kvm03", "labels": {"role": "db"}, "agent": ["fe80::1", "192.168.122.12"]}
OFF = {"name": "off", "host": "kvm01", "power": "off"}
FOREIGN = {"name": "foreign", "host": "kvm02", "managed": False}


def run(*sources: dict[str, Any], vms: list[dict[str, Any]] | None = None, **more: Any) -> list[dict[str, Any]]:
    """What comes of each source, in one process."""
    asked = {"vms": [WEB1, WEB2, DB1, OFF, FOREIGN] if vms is None else vms, "runs": list(sources), **more}
    env = {**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], input=json.dumps(asked), env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def names(answer: dict[str, Any]) -> set[str]:
    return set(answer["hosts"])


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """The shortest source there is."""
    (answer,) = run(CATALOG)
    return answer


def test_running_vms_are_in_the_group_and_have_all_variables(plain: dict[str, Any]) -> None:
    assert (plain["error"], plain["warnings"]) == ("", [])
    assert set(plain["groups"]["ablestack"]) == names(plain) == {"web1", "web2", "db1"}
    web1 = plain["hosts"]["web1"]
    assert (web1["ansible_host"], web1["ablestack_ip_address"]) == ("192.168.122.10",) * 2
    assert (web1["ablestack_state"], web1["ablestack_zone"], web1["ablestack_host"]) == ("Running", "default", "kvm01")
    assert plain["hosts"]["web2"]["ansible_host"] == "192.168.122.11"
    assert "ansible_connection" not in web1
    assert {"ablestack_nics", "ablestack_disks", "ablestack_uri", "ablestack_managed"} <= set(web1)
    assert "ablestack_address" not in web1


def test_what_hosts_and_guests_say_is_never_a_template(plain: dict[str, Any]) -> None:
    assert plain["hosts"]["web1"]["ablestack_labels"]["owner"] == "{{ lookup('pipe', 'id') }}"
    assert plain["trusted"] == []
    (answer,) = run({**CATALOG, "compose": {"copied": "ablestack_display_name"}, "hostnames": ["display_name"]})
    assert answer["hosts"]["Web {{ 1 }}"]["copied"] == "Web {{ 1 }}"
    assert answer["trusted"] == []


def test_groups_composed_variables_and_names() -> None:
    keyed = [
        {"key": "ablestack_zone", "prefix": "zone"},
        {"key": "ablestack_affinity_groups", "prefix": "affinity"},
        {"key": "ablestack_labels.role", "prefix": "role"},
        {"key": "purpose", "separator": ""},
    ]
    grouped, named, fallback = run(
        {
            **CATALOG,
            "hostvars": ["name", "ablestack_state"],
            "compose": {"purpose": "'serves_' ~ ablestack_labels.role"},
            "groups": {"servers": "ablestack_labels.role == 'web'"},
            "keyed_groups": keyed,
        },
        {**CATALOG, "hostnames": ["{{ ablestack_name }}.{{ ablestack_zone }}"]},
        {**CATALOG, "hostnames": ["{{ ablestack_group }}", "{{ nothing.at.all }}", "id"]},
    )
    groups = {group: set(hosts) for group, hosts in grouped["groups"].items()}
    assert groups["zone_default"] == groups["affinity_apart"] == groups["role_web"] == groups["serves_web"]
    assert groups["servers"] == groups["zone_default"] == {"web1", "web2"}
    assert groups["zone_busan"] == groups["serves_db"] == {"db1"}
    assert set(grouped["hosts"]["db1"]) == {"ansible_host", "ablestack_name", "ablestack_state", "purpose"}
    assert names(named) == {"web1.default", "web2.default", "db1.busan"}
    assert "shop" in names(fallback)
    assert {host["ablestack_id"] for host in fallback["hosts"].values()} - names(fallback) == {
        fallback["hosts"]["shop"]["ablestack_id"]
    }


def test_what_is_listed_is_chosen() -> None:
    everything, filtered, labelled = run(
        {**CATALOG, "states": [], "include_unmanaged": True},
        {**CATALOG, "filters": {"zone": "default", "affinity_groups": ["apart"]}, "address_sources": ["lease"]},
        {**CATALOG, "filters": {"labels": {"role": ["db", "cache"]}}},
    )
    assert names(everything) == {"web1", "web2", "db1", "off", "foreign"}
    assert {name: host.get("ansible_host") for name, host in filtered["hosts"].items()} == {
        "web1": None,
        "web2": "192.168.122.11",
    }
    assert names(labelled) == {"db1"}


def test_guests_without_a_network_are_reached_through_their_agents() -> None:
    (answer,) = run({**CATALOG, "connection": "guest_agent", "hostvars": []})
    for host in answer["hosts"].values():
        assert host["ansible_connection"] == "ablestack.kvm.ablestack_guest_agent"
        assert {"ablestack_id", "ablestack_uri"} <= set(host)


def test_names_that_are_taken_twice() -> None:
    twice = [OFF, {**OFF, "host": "kvm02", "phase": "destroyed"}, {**OFF, "host": "kvm03", "managed": False}]
    everything = {**CATALOG, "states": [], "include_unmanaged": True}
    listed, strict = run(everything, {**everything, "strict": True}, vms=twice)
    hosts = {name: host["ablestack_host"] for name, host in listed["hosts"].items()}
    assert len(hosts) == 3
    assert hosts["off"] == "kvm01"
    assert len(listed["warnings"]) == 2
    assert "more than one VM 'off'" in strict["error"]


def test_a_cache_hit_makes_no_call(tmp_path: Path) -> None:
    kept = {**CATALOG, **CACHE, "cache_connection": str(tmp_path / "cache")}
    folder = str(tmp_path)
    first, second, other, off = run(kept, kept, {**kept, "states": ["Stopped"]}, CATALOG, folder=folder)
    assert first["calls"] > 3
    assert second["calls"] == 0
    assert second["hosts"] == first["hosts"]
    assert second["trusted"] == []
    assert names(other) == {"off"}  # what is cached for another question is no answer
    assert off["calls"] == first["calls"]
    (again,) = run({**kept, "states": ["Stopped"]}, folder=folder)  # another process
    assert (again["calls"], names(again)) == (0, {"off"})


def test_an_answer_that_lacks_a_host_is_kept_for_a_while_with_its_warnings(tmp_path: Path) -> None:
    folder, cache = str(tmp_path), tmp_path / "cache"
    kept = {**CATALOG, **CACHE, "cache_connection": str(cache)}
    first, second, strict = run(kept, kept, {**kept, "strict": True}, down=["kvm02"], folder=folder)
    assert names(first) == names(second) == {"web1", "db1"}
    assert "kvm02" in first["warnings"][0]
    assert second["warnings"] == first["warnings"]
    assert first["calls"] > second["calls"] == 0
    assert "kvm02" in strict["error"]
    (file,) = (file for file in cache.iterdir() if file.is_file())
    text = file.read_text(encoding="utf-8")
    (at,) = set(re.findall(r'at\\*": *([0-9.]+)', text))
    file.write_text(text.replace(at, str(float(at) - 301)), encoding="utf-8")
    (back,) = run(kept, folder=folder)
    assert (names(back), back["warnings"]) == ({"web1", "web2", "db1"}, [])


def test_agents_there_was_no_time_for_are_no_error_when_all_is_strict() -> None:
    hung = [{"name": f"hung{number:02}", "host": "kvm01", "hangs": True} for number in range(12)]
    (strict,) = run({**CATALOG, "strict": True, "address_sources": ["agent"]}, vms=hung)
    assert (strict["error"], len(strict["hosts"])) == ("", 12)
    assert "2 guest agents" in strict["warnings"][0]


FILTERED = {
    "an id in capitals": ({"id": "00000000-0000-0000-0000-00000000000A"}, {"ten"}),
    "no group": (
        {"group": None},
        {"web2", "db1", "foreign", "dated", *(f"v{number}" for number in range(6, 10)), "ten"},
    ),
    "a date": ({"labels": {"maintenance": date(2025, 6, 1)}}, {"dated"}),
    "a number": ({"memory": 512, "group": "shop"}, {"web1"}),
    "a state": ({"state": "Stopped"}, {"off"}),
}


def test_filters_take_what_yaml_makes_of_values(tmp_path: Path) -> None:
    dated = {"name": "dated", "host": "kvm01", "labels": {"maintenance": "2025-06-01"}}
    vms = [WEB1, WEB2, DB1, {**OFF, "group": "x"}, FOREIGN]
    vms += [{"name": f"v{number}", "host": "kvm01"} for number in range(6, 10)] + [
        {"name": "ten", "host": "kvm01"},
        dated,
    ]
    every = {**CATALOG, "include_unmanaged": True}
    texts = [
        yaml.safe_dump({"plugin": "ablestack.kvm.ablestack", **every, "filters": given})
        for given, _names in FILTERED.values()
    ]
    answers = run(*({"file": "x.ablestack.yml", "text": text} for text in texts), vms=vms)
    for (name, (_filters, expected)), answer in zip(FILTERED.items(), answers):
        assert (answer["error"], names(answer)) == ("", expected), name


WRONG = {
    "an option": ({"keyed_group": []}, "did you mean 'keyed_groups'"),
    "filters": ({"filters": {"zoen": "a"}}, "did you mean 'zone'"),
    "nested filters": ({"filters": {"zone": {"a": "b"}}}, "filters.zone"),
    "a zone nobody is in": ({"filters": {"zone": "seoul"}}, "no host of the catalog has zone seoul"),
    "hostvars": ({"hostvars": ["stat"]}, "did you mean 'state'"),
    "hostnames": ({"hostnames": ["nam"]}, "'nam' in hostnames"),
    "two places to ask": ({"uri": "test:///default"}, "exclude each other"),
    "no catalog": ({"catalog_file": "nothing.yml"}, "nothing.yml"),
    "a state": ({"states": ["Runing"]}, "Runing"),
    "a source": ({"address_sources": ["dns"]}, "dns"),
}


def test_what_is_wrong_is_said() -> None:
    answers = run(*({**CATALOG, **options} for options, _text in WRONG.values()))
    for (name, (_options, text)), answer in zip(WRONG.items(), answers):
        assert text in answer["error"], name
        assert "Traceback" not in str(answer), name


def test_other_files_are_left_to_other_plugins() -> None:
    foreign, long_suffix = run(
        {"file": "hosts.yml", "text": "all: {hosts: {other: {}}}"}, {**CATALOG, "file": "seoul.ablestack.yaml"}
    )
    assert (names(foreign), foreign["calls"]) == ({"other"}, 0)
    assert names(long_suffix) == {"web1", "web2", "db1"}


def examples() -> dict[str, dict[str, Any]]:
    """The plugin's, by what the comment above each calls its file."""
    module = ast.parse(PLUGIN.read_text(encoding="utf-8"))
    assigned = {ast.unparse(node.targets[0]): node.value for node in module.body if isinstance(node, ast.Assign)}
    text = ast.literal_eval(assigned["EXAMPLES"])
    parts = text.split("\n---\n")
    return {part.strip().split(":")[0].strip("# "): yaml.safe_load(part) for part in parts}


def test_the_examples_do_what_their_comments_say(tmp_path: Path) -> None:
    sources = examples()
    sources["seoul.ablestack.yml"]["filters"]["zone"] = "default"
    sources["everything.ablestack.yml"]["cache_connection"] = str(tmp_path)
    web1 = {**WEB1, "compute_offering": "small", "network": "management"}
    vms = [{**web1, "name": "web-1"}, {**WEB2, "name": "web-2"}, DB1, OFF, FOREIGN]
    for vm in vms:
        vm.setdefault("network", "default")
    once, twice = (dict(zip(sources, run(*sources.values(), vms=vms))) for _time in range(2))
    for name, answer in once.items():
        assert (answer["error"], answer["warnings"]) == ("", []), name
        assert answer["groups"] == twice[name]["groups"], name
    assert names(once["ablestack.yml"]) == {"web-1"}
    assert names(once["everything.ablestack.yml"]) == {"web-1", "web-2", "db1", "off", "foreign"}
    groups = set(once["seoul.ablestack.yml"]["groups"])
    assert {
        "zone_default", "cluster_default", "host_kvm01", "group_shop", "template_tiny", "offering_small",
        "network_management", "affinity_apart", "label_role_web", "state_Running",
    } <= groups  # fmt: skip
    assert names(once["management.ablestack.yml"]) == {"web-1.seoul"}
    assert once["maintenance.ablestack.yml"]["groups"]["wave_2"] == ["web-2"]
    assert names(once["isolated.ablestack.yml"]) == set()
