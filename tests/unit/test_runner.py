"""The runner over a use case made up here: what reaches the host, what reaches the playbook, and what never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Callable
from urllib.parse import unquote

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code, invalid
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete, Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import UNSET
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from ansible_collections.ablestack.kvm.plugins.module_utils.face import runner
from ansible_collections.ablestack.kvm.plugins.module_utils.face.runner import plain, run
from support.module_process import as_on_a_host, module_arguments

OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "keys": {"type": "list", "elements": "str", "no_log": False},
    "user_data": {"type": "str", "no_log": True},
}
DONE = Outcome(True, {"cpu": 1}, {"cpu": 2}, {"vm": {"name": "web01"}}, ("the guest agent is old",))
SECRET = "password: hunter2"
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----"


class Colour(str, Enum):
    RED = "red"


class Host:
    """The least a host can be: it knows how it was connected and whether it was closed."""

    def __init__(self, read_only: bool) -> None:
        self.read_only = read_only
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[Host]:
    """The hosts connected so far."""
    opened: list[Host] = []

    def open_hosts(read_only: bool) -> Callable[[Any], Host]:
        def open_host(spec: Any) -> Host:
            opened.append(Host(read_only))
            return opened[-1]

        return open_host

    monkeypatch.setattr(runner, "open_hosts", open_hosts)
    return opened


@pytest.fixture(autouse=True)
def _as_on_a_host() -> Iterator[None]:
    with as_on_a_host():
        yield


Result = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def result(hosts: list[Host], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    """Runs a module with these arguments: its result, and all it printed."""
    monkeypatch.delenv("ABLESTACK_CATALOG", raising=False)

    def of(work: Callable[[Infrastructure], Any], reads_only: bool = False, **args: Any) -> tuple[dict[str, Any], str]:
        with module_arguments(args), pytest.raises(SystemExit) as end:
            run(OPTIONS, lambda options: work, reads_only=reads_only)
        printed = capsys.readouterr()
        answer: dict[str, Any] = json.loads(printed.out)
        assert end.value.code == (1 if answer.get("failed") else 0)
        return answer, printed.out + printed.err

    return of


def raising(error: Exception) -> Callable[[Infrastructure], Outcome]:
    def work(infrastructure: Infrastructure) -> Outcome:
        raise error

    return work


def test_what_came_of_it_is_returned(result: Result) -> None:
    answer, _text = result(lambda _infrastructure: DONE)
    assert answer["changed"] is True
    assert answer["vm"] == {"name": "web01"}
    assert [warning if isinstance(warning, str) else warning["event"]["msg"] for warning in answer["warnings"]] == [
        "the guest agent is old"
    ]
    assert "error" not in answer


def test_a_diff_is_returned_only_when_asked_for(result: Result) -> None:
    assert "diff" not in result(lambda _infrastructure: DONE)[0]
    answer, _text = result(lambda _infrastructure: DONE, _ansible_diff=True)
    assert answer["diff"] == {"before": {"cpu": 1}, "after": {"cpu": 2}}


@pytest.mark.parametrize("check", [True, False])
def test_check_mode_connects_read_only_and_the_use_case_knows(result: Result, hosts: list[Host], check: bool) -> None:
    seen = []

    def work(infrastructure: Infrastructure) -> Outcome:
        seen.append(infrastructure.check)
        infrastructure.host("localhost")
        return DONE

    result(work, _ansible_check_mode=check)
    assert seen == [check]
    assert [host.read_only for host in hosts] == [check]


def test_a_module_that_only_reads_is_fully_connected_in_check_mode_too(result: Result, hosts: list[Host]) -> None:
    def work(infrastructure: Infrastructure) -> Outcome:
        infrastructure.host("localhost")
        return Outcome()

    result(work, reads_only=True, _ansible_check_mode=True)
    assert [host.read_only for host in hosts] == [False]


@pytest.mark.parametrize("error", [None, invalid("no"), ValueError("no")])
def test_hosts_are_closed_whatever_happens(result: Result, hosts: list[Host], error: Exception | None) -> None:
    def work(infrastructure: Infrastructure) -> Outcome:
        infrastructure.host("localhost")
        if error:
            raise error
        return DONE

    result(work)
    assert [host.closed for host in hosts] == [True]


def test_the_module_s_own_options_are_checked_before_any_catalog_is_read(
    hosts: list[Host], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def prepare(options: Any) -> Any:
        assert set(options) == set(OPTIONS)
        raise invalid("name is wrong")

    with module_arguments({"catalog_file": str(tmp_path / "none.yml")}), pytest.raises(SystemExit):
        run(OPTIONS, prepare)
    assert json.loads(capsys.readouterr().out)["msg"] == "name is wrong."


def test_a_failure_is_one_sentence_and_an_error_to_branch_on(result: Result) -> None:
    error = AblestackError(
        Code.IN_USE, "template 'a' is used.", "delete its VMs first", vms=("web01",), kind=Colour.RED
    )
    answer, _text = result(raising(error), _ansible_diff=True)
    assert answer["failed"] is True
    assert answer["msg"] == "template 'a' is used: delete its VMs first."
    assert answer["error"] == {
        "code": "InUse",
        "hint": "delete its VMs first",
        "details": {"vms": ["web01"], "kind": "red"},
    }
    assert set(answer) - {"invocation"} == {"failed", "msg", "error"}  # newer releases leave that to the controller


def test_a_failure_of_a_part_still_tells_what_was_done(result: Result) -> None:
    done = Outcome(True, {"due": ["a"]}, {"due": []}, {"expunged": ["a"], "failed": ["b"]}, ("careful",))
    answer, _text = result(raising(Incomplete(done, Code.TIMEOUT, "b is left", "again")), _ansible_diff=True)
    assert answer["failed"] is True
    assert answer["msg"] == "b is left: again."
    assert answer["error"]["code"] == "Timeout"
    assert answer["changed"] is True
    assert answer["expunged"] == ["a"]
    assert answer["failures"] == ["b"]
    assert answer["diff"] == {"before": {"due": ["a"]}, "after": {"due": []}}
    assert answer["warnings"]


def test_keys_that_ansible_would_take_for_its_own_get_another_name(result: Result) -> None:
    outcome = Outcome(result={"vms": [], "unreachable": {"kvm01": "it is off."}, "failed": []})
    answer, _text = result(lambda _infrastructure: outcome)
    assert answer["unreachable_hosts"] == {"kvm01": "it is off."}
    assert answer["failures"] == []
    assert "unreachable" not in answer
    assert "failed" not in answer


@pytest.mark.parametrize("key", ["changed", "diff", "invocation", "msg", "skipped", "warnings"])
def test_no_use_case_says_what_is_ansible_s_to_say(result: Result, key: str) -> None:
    answer, _text = result(lambda _infrastructure: Outcome(result={key: "x"}))
    assert answer["error"]["code"] == "Internal"


def test_a_mistake_of_ours_is_one_sentence_without_a_traceback(result: Result) -> None:
    answer, text = result(raising(KeyError("vda\n  of it")), _ansible_verbosity=4, _ansible_debug=False)
    assert answer["msg"].startswith("unexpected KeyError: ")
    assert "\n" not in answer["msg"]
    assert answer["error"]["code"] == "Internal"
    assert answer["error"]["details"]["kind"] == "KeyError"
    assert answer["error"]["details"]["calls"][-1].startswith("test_runner.py:")
    assert "Traceback" not in text
    assert 'File "' not in text


def test_a_library_that_is_not_installed_says_so(result: Result) -> None:
    answer, _text = result(raising(ModuleNotFoundError("No module named 'netaddr'", name="netaddr.core")))
    assert answer["error"]["code"] == "Unsupported"
    assert answer["msg"].startswith("the Python library netaddr is not installed for /")


def test_a_missing_file_of_ours_is_a_mistake_of_ours(result: Result) -> None:
    error = ModuleNotFoundError("No module named x", name="ansible_collections.ablestack.kvm.plugins.x")
    assert result(raising(error))[0]["error"]["code"] == "Internal"


@pytest.mark.parametrize(
    "work",
    [
        lambda _infrastructure: Outcome(True, {"seed": SECRET}, {}, {"vm": {"seed": f"-{SECRET}-"}}),
        raising(invalid(f"cannot use '{SECRET}'", SECRET, value=[SECRET])),
        raising(Incomplete(Outcome(True, result={"seed": SECRET}), Code.TIMEOUT, "late", SECRET)),
        raising(ValueError(SECRET)),
    ],
)
def test_user_data_is_in_nothing_that_is_printed(result: Result, work: Callable[[Infrastructure], Outcome]) -> None:
    _answer, text = result(work, user_data=SECRET, _ansible_diff=True, _ansible_verbosity=4)
    assert "hunter2" not in text


@pytest.mark.parametrize("blank", ["", "\n", "  "])
def test_blank_user_data_garbles_nothing(result: Result, blank: str) -> None:
    told = Outcome(True, result={"vm": {"name": "web01", "display_name": "two  spaces\n"}})
    answer, _text = result(lambda _infrastructure: told, user_data=blank)
    assert answer["vm"] == {"name": "web01", "display_name": "two  spaces\n"}


def test_a_mistake_of_ours_quotes_no_part_of_user_data(result: Result) -> None:
    user_data = f"#cloud-config\nruncmd:\n  - [echo,  hunter2]\n  - {SECRET}\n"
    answer, text = result(raising(ValueError(f"cannot parse\n  - {SECRET}")), user_data=user_data)
    assert answer["msg"].startswith("unexpected ValueError: its text is withheld")
    assert "hunter2" not in text
    answer, text = result(raising(ValueError("cannot parse '- [echo, hunter2]'")), user_data=user_data)
    assert "hunter2" not in text
    answer, _text = result(raising(ValueError("cannot parse the rest")), user_data=user_data)
    assert answer["msg"].startswith("unexpected ValueError: cannot parse the rest")


def test_a_private_key_where_a_public_one_belongs_is_in_nothing_that_is_printed(result: Result) -> None:
    catalog = {"hosts": [{"name": "kvm01", "uri": "test:///default"}], "ssh_key_pairs": {"ops": PRIVATE}}
    answer, text = result(lambda _infrastructure: DONE, catalog=catalog, keys=[PRIVATE])
    assert "ssh_key_pairs.ops is not one public SSH key" in answer["msg"]
    assert "b3Blb" not in text


@pytest.mark.parametrize(
    "args",
    [
        {"nmae": "web01"},
        {"keys": {"a": 1}},
        {"uri": "test:///default", "catalog_file": "/etc/catalog.yml"},
        {"uri": "test:///default", "catalog": {"hosts": []}},
        {"catalog": "hosts"},
    ],
)
def test_what_ansible_refuses_has_an_error_to_branch_on_too(result: Result, args: dict[str, Any]) -> None:
    answer, text = result(lambda _infrastructure: DONE, **args)
    assert answer["failed"] is True
    hint = answer["error"]["hint"]
    assert hint.startswith("ansible-doc ")
    assert answer["error"] == {"code": "InvalidInput", "hint": hint, "details": {}}
    assert answer["msg"].endswith(f": {hint}.")
    assert "Traceback" not in text


@pytest.mark.parametrize("disks", [[{"name": "data"}, "log"], "log"])
def test_a_text_where_mappings_belong_names_the_option(capsys: pytest.CaptureFixture[str], disks: Any) -> None:
    lists = {"type": "list", "elements": "dict", "options": {"name": {"type": "str"}}}
    with module_arguments({"disks": disks}), pytest.raises(SystemExit):
        run({"disks": lists, "records": lists}, lambda _options: lambda _infrastructure: DONE)
    answer = json.loads(capsys.readouterr().out)
    assert answer["msg"] == "an entry of disks is no mapping: write for example disks: [{name: ...}]."
    assert answer["error"]["code"] == "InvalidInput"


def test_plain_keeps_what_json_has_and_turns_the_rest_of_ours_into_it() -> None:
    data = {"a": (1, 2.5, None, True), "b": {"c": Colour.RED}, "d": frozenset({"y", "x"})}
    assert plain(data) == {"a": [1, 2.5, None, True], "b": {"c": "red"}, "d": ["x", "y"]}
    assert not isinstance(plain(Colour.RED), Enum)


@pytest.mark.parametrize("value", [UNSET, b"x", object(), {1: "a"}, {Colour.RED: 1}, Path("/"), [UNSET]])
def test_plain_refuses_what_would_only_look_like_json(value: Any) -> None:
    with pytest.raises(TypeError):
        plain(value)


def test_a_result_that_is_not_plain_is_a_mistake_of_ours(result: Result) -> None:
    answer, _text = result(lambda _infrastructure: Outcome(result={"vm": {"cpu": UNSET}}))
    assert answer["error"]["code"] == "Internal"


NESTED = {
    "vms": {"type": "list", "elements": "dict"},
    "defaults": {"type": "dict"},
    "parallel": {"type": "int"},
}
TWO_LINES = f"#cloud-config\n{SECRET}\n"


@pytest.mark.parametrize(("more", "failed"), [({}, False), ({"parallel": "many"}, True), ({"nonsense": 1}, True)])
def test_a_secret_within_an_option_is_masked_in_results_and_in_the_system_s_log(
    hosts: list[Host],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, Any],
    failed: bool,
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(runner.Module, "log", lambda _self, msg, log_args=None: logged.append(f"{msg} {log_args}"))
    args = {"vms": [{"name": "a", "user_data": TWO_LINES}], "defaults": {"user_data": "other hunter2"}, **more}
    with module_arguments({"uri": "test:///default", **args}), pytest.raises(SystemExit):
        run(NESTED, lambda options: lambda _infrastructure: Outcome(result={"given": options["vms"]}))
    text = capsys.readouterr().out
    answer = json.loads(text)
    assert answer.get("failed", False) is failed
    assert "hunter2" not in text
    assert "hunter2" not in "".join(logged)
    assert bool(logged) is not failed
    assert failed or answer["given"][0]["name"] == "a"


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2pw@images.example.com/a.qcow2",
        "https://me:hunter%32pw@images.example.com/a.qcow2",
        "https://images.example.com/a.qcow2?v=1&X-Amz-Signature=hunter2pw&x=2",
        "https://images.example.com/a.qcow2?sig=hunter2%70w",
        "https://images.example.com/a.qcow2?hunter2pw",
        "https://hunter2pw@images.example.com/a.qcow2",
        "https://me:hunter2pw@[x/a.qcow2",
    ],
)
def test_what_is_secret_in_an_address_is_masked_in_results_and_in_the_system_s_log(
    hosts: list[Host], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str, failed: bool
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(runner.Module, "log", lambda _self, msg, log_args=None: logged.append(f"{msg} {log_args}"))

    def work(_infrastructure: Any) -> Outcome:
        if failed:
            raise AblestackError(Code.NOT_FOUND, f"{url} is gone", unquote(url))
        return Outcome(result={"version": "1 2 me", "seen": [url, "hunter2pw"]})

    given = {"uri": "test:///default", "url": url}
    with module_arguments(given), pytest.raises(SystemExit):
        run({"url": {"type": "str"}}, lambda _options: work)
    text = capsys.readouterr().out
    assert json.loads(text).get("failed", False) is failed
    assert logged
    for told in (text, unquote(text), *logged):
        assert "hunter2pw" not in unquote(told)
    assert failed or json.loads(text)["version"] == "1 2 me"


def test_the_plan_is_shown_beside_the_diff(result: Result) -> None:
    outcome = Outcome(True, {}, {"a": 1}, plan=("+ a: made", "- b: destroyed"))
    answer, _text = result(lambda _infrastructure: outcome, _ansible_diff=True)
    assert answer["diff"] == {"before": {}, "after": {"a": 1}, "prepared": "+ a: made\n- b: destroyed\n"}
