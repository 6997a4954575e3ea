from __future__ import annotations

from pathlib import Path

import pytest

from peval import hub
from peval.errors import AdapterError, BaseModelError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Stand in for the Hub; the list collects what it was asked for."""
    import huggingface_hub

    calls: list[str] = []

    def snapshot_download(repository: str, **_: object) -> str:
        calls.append(repository)
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return calls


def test_existing_path_wins(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert hub.resolve("org/name", "--base", BaseModelError) == Path("org/name")
    assert asked == []


def test_hub_id_is_downloaded(asked: list[str], tmp_path: Path) -> None:
    assert hub.resolve("org/name", "--base", BaseModelError) == tmp_path / "snapshot"
    assert asked == ["org/name"]


@pytest.mark.parametrize(
    "text",
    ["./a", "../a/b", "/a/b", "~/a", "a/b/c", "a/b/", "a", "", ".", "a b/c", "runs/x", "a\0/b",
     "a/../b", "x" * 5000, "o/" + "x" * 5000, "~nobody-of-that-name/x", "-a/b", "a/.b"],
)  # fmt: skip
def test_what_is_no_hub_id_is_never_asked_of_the_hub(
    asked: list[str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "runs").mkdir()
    if text == ".":
        assert hub.resolve(text, "--adapters", AdapterError) == Path()
    else:
        with pytest.raises(AdapterError, match="--adapters") as caught:
            hub.resolve(text, "--adapters", AdapterError)
        assert "\n" not in str(caught.value)
    assert asked == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [("LocalEntryNotFoundError", "cannot be reached"), ("RepositoryNotFoundError", "no such repo"),
     ("GatedRepoError", "terms"), ("OfflineModeIsEnabled", "could not be asked"),
     ("HFValidationError", "could not be asked")],
)  # fmt: skip
def test_failures_are_one_line(monkeypatch: pytest.MonkeyPatch, fault: str, says: str) -> None:
    import httpx
    import huggingface_hub
    from huggingface_hub import errors

    kind = getattr(errors, fault)
    response = httpx.Response(404, request=httpx.Request("GET", "https://example.org"))

    def snapshot_download(*_: object, **__: object) -> str:
        if issubclass(kind, errors.HfHubHTTPError):
            raise kind("two\nlines", response=response)
        raise kind("two\nlines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(BaseModelError, match=says) as caught:
        hub.resolve("org/name", "--base", BaseModelError)
    assert "HF_HOME" in str(caught.value)
    assert "\n" not in str(caught.value)
