"""Which catalog a task works with: an option, else the environment, else the machine's own libvirt."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import Catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.face.connection import catalog_of

HOSTS = {"hosts": [{"name": "kvm01", "uri": "qemu+ssh://root@kvm01/system"}]}
YAML = (
    "hosts:\n  - name: kvm02\n    uri: qemu+tls://kvm02/system\ncompute_offerings:\n  small: {cpu: 1, memory: 1GiB}\n"
)


def names(params: dict[str, Any], environment: dict[str, str] | None = None) -> list[str]:
    return [host.name for host in catalog_of(params, environment or {}).hosts]


def refusal(path: Path | str) -> AblestackError:
    with pytest.raises(AblestackError) as caught:
        catalog_of({"catalog_file": str(path)}, {})
    return caught.value


@pytest.fixture
def without_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name == "yaml":
            raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)


def test_without_any_option_it_is_the_system_s_own_libvirt() -> None:
    assert catalog_of({"uri": None, "catalog": None, "catalog_file": None}, {}) == Catalog.of_uri("qemu:///system")


def test_a_uri_is_a_catalog_of_one_host_that_offers_nothing() -> None:
    catalog = catalog_of({"uri": "qemu+ssh://root@kvm09/system"}, {})
    assert [(host.name, host.uri) for host in catalog.hosts] == [("kvm09", "qemu+ssh://root@kvm09/system")]
    assert catalog.implicit


@pytest.mark.parametrize("uri", ["kvm01", "/run/libvirt.sock", "qemu:// /system"])
def test_what_is_no_uri_is_refused(uri: str) -> None:
    with pytest.raises(AblestackError, match="is not a libvirt URI"):
        catalog_of({"uri": uri}, {})


def test_a_catalog_given_as_data() -> None:
    assert names({"catalog": HOSTS}) == ["kvm01"]


def test_an_empty_catalog_is_refused_and_not_taken_for_none() -> None:
    with pytest.raises(AblestackError, match="names no hosts"):
        catalog_of({"catalog": {}}, {})


def test_a_file_holds_yaml_or_json(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(YAML, encoding="utf-8")
    (tmp_path / "b.json").write_text('{"hosts": [{"name": "kvm03", "uri": "test:///default"}]}', encoding="utf-8")
    catalog = catalog_of({"catalog_file": str(tmp_path / "a.yml")}, {})
    assert catalog.compute_offering("small").memory == 1024
    assert names({"catalog_file": str(tmp_path / "b.json")}) == ["kvm03"]


def test_the_environment_counts_where_no_option_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(YAML, encoding="utf-8")
    environment = {"ABLESTACK_CATALOG": str(tmp_path / "a.yml")}
    assert names({}, environment) == ["kvm02"]
    assert names({"uri": "test:///default"}, environment) == ["localhost"]
    assert names({"catalog": HOSTS}, environment) == ["kvm01"]
    assert names({}, {"ABLESTACK_CATALOG": ""}) == ["localhost"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.yml")
    assert error.code is Code.NOT_FOUND
    assert "none.yml' cannot be read (No such file or directory)" in error.sentence


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hosts: [", "is not YAML, line "),
        (b"hosts: !!python/object:os.system x", "is not YAML, line 1, column 8"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"", "the catalog must be a mapping"),
        (b"- hosts", "the catalog must be a mapping"),
        (b"hostz: []", "unknown key 'hostz' in the catalog: did you mean 'hosts'?"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.yml").write_bytes(content)
    error = refusal(tmp_path / "a.yml")
    assert error.code is Code.INVALID_INPUT
    assert said in error.sentence
    assert "\n" not in error.sentence


def test_without_a_yaml_parser_json_is_still_read(tmp_path: Path, without_yaml: None) -> None:
    (tmp_path / "a.yml").write_text('{"hosts": [{"name": "kvm03", "uri": "test:///default"}]}', encoding="utf-8")
    assert names({"catalog_file": str(tmp_path / "a.yml")}) == ["kvm03"]


def test_without_a_yaml_parser_yaml_says_what_to_install(tmp_path: Path, without_yaml: None) -> None:
    (tmp_path / "a.yml").write_text(YAML, encoding="utf-8")
    error = refusal(tmp_path / "a.yml")
    assert error.code is Code.UNSUPPORTED
    assert "install PyYAML" in error.sentence
