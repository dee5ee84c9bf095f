"""The benchmark of fleets: what it makes of its samples, and the proxy that stands for a host far away."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
sys.path += [str(FOLDER), str(FOLDER / "fleet")]

import cases  # noqa: E402
import document  # noqa: E402
import plot  # noqa: E402
import results  # noqa: E402


@pytest.fixture
def found() -> results.Results:
    found = results.Results()
    for tool, deed, samples in (
        (results.BARE, "", [1.0, 1.0, 9.0]),
        (results.EMPTY, "", [1.5]),
        (cases.SHELL_FOUR, "deploy", [10.0]),
        (cases.FLEET, "deploy", [12.0, 11.0, 30.0]),
        (cases.FLEET, "again", [2.0]),
        (cases.THEIRS, "deploy", [60.0]),
    ):
        for seconds in samples:
            found.add(30, tool, deed, seconds)
    found.costs = {"1 VM, deploy": {"trips": 24, "kib": 40960}, "30 VMs, deploy": {"trips": 372, "kib": 46899.2}}
    return found


def test_ratios_are_of_medians_and_spare_a_playbook_its_start_up(found: results.Results) -> None:
    values = [ratio.value for ratio in results.ratios(found, 30)]
    assert values[:4] == [1.1, None, 5.0, pytest.approx(4 / 3)]
    assert values[4:7] == [None, None, None]
    assert values[7] == pytest.approx(0.2)


def test_the_report_says_what_was_not_measured(found: results.Results) -> None:
    text = results.report(found)
    assert "| ablestack_vm_fleet | 12.0 | 2.0 |  |  |" in text
    assert "| 30 VMs again: community.libvirt in a loop, to fleet | not measured | at least 20 |  |" in text
    assert "| at most 1.15 | yes |" in text
    assert "| at least 6 | no |" in text
    assert "bare start-up 1.0 s" in text


def test_only_the_marked_part_of_a_document_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- x: begin -->\nold\n<!-- x: end -->\n\nB\n")
    for _time in range(2):
        document.replace_part(page, "x", "new\n")
        assert page.read_text() == "# A\n\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\n\nB\n"
    with pytest.raises(SystemExit, match="no part 'y'"):
        document.replace_part(page, "y", "")


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("docs/design/speed.md", "fleet"),
        ("docs/design/speed.md", "planning"),
        ("benchmarks/inventory/README.md", "inventory"),
    ],
)
def test_the_documents_have_the_parts_that_benchmarks_write(file: str, part: str) -> None:
    text = (FOLDER.parent / file).read_text(encoding="utf-8")
    assert text.count(f"<!-- {part}: begin -->") == text.count(f"<!-- {part}: end -->") == 1


def test_samples_are_kept_to_be_added_to(found: results.Results, tmp_path: Path) -> None:
    found.save(tmp_path / "fleet.json")
    assert results.Results.load(tmp_path / "fleet.json") == found


def test_the_plot_has_a_bar_for_everything_measured(found: results.Results) -> None:
    root = ElementTree.fromstring(plot.plot(found, 30))
    svg = "{http://www.w3.org/2000/svg}"
    bars = [(rect.get("class"), float(rect.get("width", 0))) for rect in root.iter(f"{svg}rect")]
    assert [kind for kind, _width in bars] == ["peer", "ours", "peer", "peer", "ours"]
    assert bars[1][1] == pytest.approx(bars[0][1] * 1.2, abs=0.1)  # 12 seconds beside 10
    assert root.findtext(f"{svg}title")


def test_every_tool_deploys_and_only_ours_does_all(tmp_path: Path) -> None:
    class Site(cases.Bench):
        def __init__(self) -> None:
            self.uri, self.work = "test:///default", tmp_path

    deeds = {tool.name: set(tool.deeds(3)) for tool in cases.tools(Site())}
    assert all("deploy" in kinds for kinds in deeds.values())
    assert deeds[cases.FLEET] == deeds[cases.FAR_FLEET] == deeds[cases.THEIRS] == set(cases.DEEDS)


def test_the_proxy_passes_everything_on_in_order(tmp_path: Path) -> None:
    target, listen = str(tmp_path / "near"), str(tmp_path / "far")
    sent = bytes(range(256)) * 4096
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(target)
        server.listen()

        def echo() -> None:
            connection, _address = server.accept()
            with connection:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)

        Thread(target=echo, daemon=True).start()
        words = [sys.executable, str(FOLDER / "delay.py"), listen, target, "0.002"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as proxy, socket.socket(socket.AF_UNIX) as client:
            assert proxy.stdout
            assert proxy.stdout.readline() == b"ready\n"
            client.connect(listen)
            Thread(target=client.sendall, args=(sent,), daemon=True).start()
            got = b""
            while len(got) < len(sent):
                got += client.recv(1 << 16)
            proxy.terminate()
    assert got == sent
