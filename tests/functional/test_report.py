# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's page in a real browser: what it shows, how it looks, and that nothing on it is taken for markup."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.browser import DESKTOP, PHONE, Page, browser
from support.report_site import found, make_site

TEMPLATE = Path(__file__).parents[2] / "roles" / "report" / "templates" / "report.html.j2"
TITLE = "Machines of the shop"
# What the page compares or reads as a time; the modules make it themselves, no host or guest has a say in it.
OURS = {"state", "action", "type", "created", "destroyed_at", "expunge_at", "impact"}
HOSTILE = "<img src=x onerror=alert(1)></td></style><script>alert(2)</script>\"'&amp;{{ 7 * 191 }}"


class Literal(str):
    """Text that Ansible does not take for a template, as it does not what modules return."""


yaml.SafeDumper.add_representer(Literal, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


def texts(value: Any, change: Any, key: str = "") -> Any:
    """The same data with every text changed that comes from hosts, guests or users."""
    if isinstance(value, dict):
        # the names of labels and of hosts that are down are theirs, too
        named = key in ("labels", "unreachable_hosts")
        return {(change(name) if named else name): texts(item, change, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [texts(item, change, key) for item in value]
    return change(value) if isinstance(value, str) and key not in OURS else value


def write(folder: Path, name: str, data: dict[str, Any], title: str = TITLE) -> Path:
    """The page of the data, written by the role."""
    written(folder, name, data, title)
    return folder / f"{name}.html"


def written(folder: Path, name: str, data: dict[str, Any], title: str = TITLE) -> bool:
    """Whether the role says that the page has changed."""
    file = folder / f"{name}.html"
    role = {"name": "ablestack.kvm.report", "tasks_from": "write.yml"}
    given = {"report_dest": str(file), "report_title": title, "report_found": data}
    play = {
        "name": "Report", "hosts": "localhost", "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [{"name": "Write", "ansible.builtin.include_role": role, "vars": given}],
    }  # fmt: skip
    playbook = folder / f"{name}.yml"
    playbook.write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    command = [sys.executable, str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    done = subprocess.run(
        [*command, str(playbook)], env={**os.environ, "ANSIBLE_HOME": str(folder)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return "changed=0" not in done.stdout


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return found(make_site())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def file(data: dict[str, Any], folder: Path) -> Path:
    return write(folder, "fleet", data)


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    with browser(folder) as opened:
        yield opened


def rows(page: Page, section: str) -> dict[str, str]:
    """The rows of a section's tables, by what the first cell begins with."""
    cells = (
        "return [...document.querySelectorAll(arguments[0])].map(row => "
        "[...row.querySelectorAll('th, td')].map(cell => cell.innerText.replace(/\\s+/g, ' ').trim()).join(' '))"
    )
    return {row.split()[0]: row for row in page.run(cells, f"#{section} tbody tr")}


def test_it_shows_the_fleet_and_asks_nobody_for_anything(page: Page, file: Path, data: dict[str, Any]) -> None:
    page.open(file)
    assert page.requests() == [file.as_uri()]
    assert page.complaints() == []
    assert page.all("h1") == [TITLE]
    assert page.all("#hosts h3") == ["Zone busan", "Zone seoul"]
    assert set(rows(page, "hosts")) == {"kvm01", "kvm02", "kvm03"}
    kvm01 = rows(page, "hosts")["kvm01"]
    cpu = next(host["cpu"] for host in data["hosts"] if host["name"] == "kvm01")
    assert f"{cpu['used']} of {cpu['capacity']}" in kvm01
    assert "ssd" in kvm01
    assert rows(page, "unreachable")["kvm04"] == "kvm04 host 'kvm04' cannot be reached."
    vms = rows(page, "vms")
    assert set(vms) == {"build01", "build02", "legacy", "shop-db", "web01", "web02", "web03"}
    for part in ("Shop database", "Running", "protected", "kvm01", "1.0 GiB", "3 GiB", "role: database"):
        assert part in vms["shop-db"]
    assert set(rows(page, "networks")) == {"default", "lan"}
    assert set(rows(page, "templates")) == {"debian12", "tiny"}
    assert "5 GiB" in rows(page, "volumes")["archive"]


def test_a_page_that_tells_nothing_new_has_its_time_and_is_no_change(data: dict[str, Any], folder: Path) -> None:
    old = 'As of <time datetime="2020-01-02T03:04:05Z">2020-01-02 03:04</time>'
    lasting = {**data, "vms": [vm for vm in data["vms"] if not vm["expunge_at"]]}  # of others the days left are told
    file = write(folder, "twice", lasting)
    file.write_text(re.sub("As of <time.*</time>", old, file.read_text(encoding="utf-8")), encoding="utf-8")
    assert not written(folder, "twice", lasting)
    assert "2020-01-02" not in file.read_text(encoding="utf-8")
    assert written(folder, "twice", data)


def test_it_shows_what_is_destroyed_and_until_when(page: Page, file: Path, data: dict[str, Any]) -> None:
    page.open(file)
    [trial] = [vm for vm in data["vms"] if vm["state"] == "Destroyed"]
    row = rows(page, "destroyed")["trial"]
    assert trial["expunge_at"][:16].replace("T", " ") in row
    assert "23 h left" in row
    assert "trial" not in rows(page, "vms")


def test_what_is_being_expunged_does_not_count_as_recoverable(page: Page, data: dict[str, Any], folder: Path) -> None:
    vms = [{**vm, "state": "Expunging"} if vm["name"] == "trial" else vm for vm in data["vms"]]
    again = {**next(vm for vm in data["vms"] if vm["name"] == "trial"), "name": "trial2"}
    page.open(write(folder, "expunging", {**data, "vms": [*vms, again]}))
    tiles = page.all("#summary .tiles > div")
    assert "Destroyed1can be recovered" in tiles
    assert "Expunging1" in tiles
    page.open(write(folder, "all-expunging", {**data, "vms": vms}))
    assert "Destroyed0" in page.all("#summary .tiles > div")


def test_it_shows_snapshots_as_a_tree(page: Page, file: Path) -> None:
    page.open(file)
    inner = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
    assert page.run(inner, "#snapshots .tree > li > strong") == ["installed"]
    assert page.run(inner, "#snapshots .tree > li > ul > li > strong") == ["before-upgrade", "second-try"]
    assert page.all("#snapshots .badge") == ["current"]
    assert "With the new schema" in page.all("#snapshots .tree > li > ul > li")[1]


def test_it_shows_the_drift_from_what_is_wanted(page: Page, file: Path) -> None:
    page.open(file)
    drift = rows(page, "drift")
    assert set(drift) == {"web02", "web03", "web04"}
    assert "state: Running → Stopped" in drift["web02"]
    assert "refused" in drift["web03"]
    assert "allow_restart" in drift["web03"]
    assert "it is missing" in drift["web04"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, (768, 1024), PHONE], ids=["desktop", "tablet", "phone"])
def test_it_can_be_read_everywhere(page: Page, file: Path, size: tuple[int, int], dark: bool) -> None:
    page.open(file, size, dark)
    assert page.overflow == 0
    assert page.contrast[0] >= 4.5, page.contrast
    # a card a row on a phone, a table on a desktop
    assert page.style("#vms tbody tr", "display") == ("table-row" if size == DESKTOP else "block")


def test_light_and_dark_are_two_pages(page: Page, file: Path) -> None:
    looks = []
    for dark in (False, True):
        page.open(file, dark=dark)
        looks.append([page.style("body", name) for name in ("background-color", "color")])
    assert all(one != other for one, other in zip(*looks))


def test_those_who_listen_get_as_much_as_those_who_look(page: Page, file: Path) -> None:
    page.open(file, PHONE)
    assert page.run("return document.documentElement.lang") == "en"
    levels = page.run("return [...document.querySelectorAll('h1, h2, h3')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    tables = page.run("return document.querySelectorAll('table').length")
    assert tables >= 8
    assert len([text for text in page.all("table > caption") if text]) == tables
    # where rows are cards, a browser takes a table for boxes unless it is told
    assert page.run("return document.querySelectorAll('tr:not([role=row]), td:not([role=cell])').length") == 0
    assert page.run("return document.querySelectorAll('tbody tr > th[scope=row]').length") == len(page.all("tbody tr"))
    lost = "return [...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash)).length"
    assert page.run(lost) == 0
    assert page.run("return [...document.querySelectorAll('svg')].every(e => e.getAttribute('aria-label'))")


def test_nothing_on_it_is_taken_for_markup_or_a_template(
    page: Page, file: Path, data: dict[str, Any], folder: Path
) -> None:
    page.open(file)
    harmless = page.structure
    hostile = write(
        folder, "hostile", texts(data, lambda text: Literal(text + HOSTILE) if text else text), Literal(TITLE + HOSTILE)
    )
    page.complaints(), page.requests()
    page.open(hostile)
    assert page.structure == harmless
    assert page.requests() == [hostile.as_uri()]
    assert page.complaints() == []
    assert page.all("h1") == [TITLE + HOSTILE]
    text = page.run("return document.body.textContent")
    assert text.count(HOSTILE) > 60
    assert "1337" not in text


def test_every_expression_of_the_template_is_escaped() -> None:
    """Ansible's templates do not escape by themselves; what a page of this data does not reach is seen here."""
    text = TEMPLATE.read_text(encoding="utf-8")
    macros = set(re.findall(r"{% macro (\w+)\(", text))
    expressions = re.findall(r"{{(.*?)}}", text)
    plain = [one.strip() for one in expressions if not one.endswith("| e ") and one.split("(")[0].strip() not in macros]
    assert plain == []
    assert len(expressions) > 90
    assert "safe" not in re.findall(r"\w+", re.sub(r"{#.*?#}", "", text, flags=re.S))


def test_a_page_may_not_run_or_load_anything(page: Page, file: Path, folder: Path) -> None:
    """Should anything ever get past the escaping, the page's own policy stops it."""
    broken = folder / "broken.html"
    text = file.read_text(encoding="utf-8")
    broken.write_text(text.replace("<main", "<script>document.title='ran'</script><img src='x.png'><main"), "utf-8")
    page.complaints()
    page.open(broken)
    assert page.run("return document.title") == TITLE
    stopped = [text for text in page.complaints() if "Content Security Policy" in text]
    assert len(stopped) == 2, stopped


def test_an_empty_site_has_a_page(page: Page, folder: Path) -> None:
    nothing: dict[str, Any] = {name: [] for name in ("hosts", "vms", "trees", "networks", "templates", "volumes")}
    empty = write(folder, "empty", {**nothing, "drift": {}, "unreachable_hosts": {}})
    page.open(empty, PHONE)
    assert page.all("main p") == ["There are none."] * 3
    assert page.overflow == 0
    assert page.contrast[0] >= 4.5
