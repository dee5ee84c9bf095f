# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left out of a definition before it is parsed is nothing that anybody reads."""

from __future__ import annotations

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml import domain_mapping
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain import (
    DomainElement,
    without_controllers,
    without_metadata,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import read_domain, read_live
from support.samples import golden

RUNNING, STORED = golden("libvirt-running.xml"), golden("libvirt-stored.xml")
ODD = """
    <o xmlns='urn:others'><metadata><![CDATA[</metadata>]]></metadata>
    <controller type='pci'>
      <!-- <metadata> <controller </domain> -->
    </controller></o>
"""
STRANGE = RUNNING.replace("</metadata>", f"{ODD}</metadata>")


def children(text: str, path: str) -> list[str]:
    return [element.tag for element in DomainElement.parse(text).element.findall(path)]


@pytest.mark.parametrize("text", [RUNNING, STORED, STRANGE])
def test_metadata_is_left_out_whatever_is_in_it(text: str) -> None:
    assert "metadata" in children(text, "*")
    assert children(without_metadata(text), "*") == [tag for tag in children(text, "*") if tag != "metadata"]


@pytest.mark.parametrize("text", ["<domain><name>x</name></domain>", "<domain><metadata/></domain>", ""])
def test_where_nothing_is_in_the_metadata_nothing_is_left_out(text: str) -> None:
    assert without_metadata(text) == text


@pytest.mark.parametrize("text", [RUNNING, STORED, STRANGE])
def test_controllers_are_left_out_and_nothing_else(text: str) -> None:
    short = without_controllers(text)
    assert "controller" in children(text, "devices/*")
    assert children(short, "devices/*") == [tag for tag in children(text, "devices/*") if tag != "controller"]
    assert children(short, "metadata//*") == children(text, "metadata//*")


@pytest.mark.parametrize(
    "devices",
    [
        "",
        "<controller type='pci'/>",
        "\n    <disk/>\n  ",
        "\n    <controller type='pci'/>\n    <disk/>\n    <controller type='pci'/>\n  ",
        "\n    <controller type='pci'>\n    </controller>\n    <disk>\n    </disk>\n    <controller type='pci'/>\n  ",
    ],
    ids=["none", "in one line", "no controller", "a disk between them", "a disk with more between them"],
)
def test_controllers_stay_where_they_stand_otherwise(devices: str) -> None:
    text = f"<domain>\n  <devices>{devices}</devices>\n</domain>"
    assert without_controllers(text) == text


@pytest.mark.parametrize(
    "last", ["<controller type='scsi'/>", "<controller type='scsi'>\n      <a/>\n    </controller>"]
)
def test_controllers_of_both_shapes_are_left_out(last: str) -> None:
    row = f"\n    <controller type='pci'>\n      <model/>\n    </controller>\n    {last}"
    text = "<domain>\n  <devices>{}\n    <memory>\n    </memory>\n  </devices>\n</domain>"
    assert without_controllers(text.format(row)) == text.format("")


@pytest.mark.parametrize(
    "broken", ["\n    <controller ", "\n    <controller >", "\n    <controller a='", "\n    <controller />"]
)
def test_what_is_cut_off_stays_for_the_parser_to_refuse(broken: str) -> None:
    with pytest.raises(AblestackError, match="cannot read"):
        read_domain(f"<domain>{broken}")


def test_what_is_read_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [golden(f"{name}.xml") for name in ("libvirt-running", "libvirt-stored", "foreign", "foreign-container")]
    stored = read_domain(STORED)

    def read() -> list[object]:
        return [
            *map(read_domain, texts),
            *map(read_live, texts),
            *(read_live(text, stored) for text in (RUNNING, STRANGE)),
        ]

    short = read()
    for name in ("without_controllers", "without_metadata"):
        monkeypatch.setattr(domain_mapping, name, lambda text: text)
    assert read() == short
