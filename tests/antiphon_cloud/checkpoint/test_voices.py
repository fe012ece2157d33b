"""Voices come from strangers: what is read of them, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.voices import read_voice, read_voices, voice_files
from antiphon_cloud.errors import CheckpointError
from tests.support.language_models import GOLDEN, expected

DIRECTORY = GOLDEN / "personaplex-tiny"
TINY = DIRECTORY / "voices/TINY.pt"
CONFIG = ModelDirectory.open(DIRECTORY).config.lm


class Evil:
    """Runs code when a pickle of it is read."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch /tmp/it-ran",)


def saved(folder: Path, held: Any) -> Path:
    path = folder / "V.pt"
    torch.save(held, path)
    return path


def archive(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A model directory with these in its voices.tgz."""
    with tarfile.open(folder / "voices.tgz", "w:gz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_voice_is_the_inputs_of_its_steps_and_the_last_frames_of_its_codes() -> None:
    voice = read_voice(TINY, CONFIG)
    codes = torch.from_numpy(expected("personaplex-tiny")["voice_codes"])
    assert (voice.name, voice.frames, tuple(voice.embeddings.shape)) == (
        "TINY",
        len(codes),
        (len(codes) - 1, CONFIG.dim),
    )
    assert torch.equal(voice.last_tokens[:, 1:], codes[-4:])
    assert (voice.last_tokens[:, 0] == CONFIG.existing_text_padding_id).all()


def test_an_archive_beside_the_model_is_as_good_as_a_folder_and_unpacked_once(tmp_path: Path) -> None:
    member = tarfile.TarInfo("voices/NATF0.pt")
    root = archive(tmp_path, (member, TINY.read_bytes()), (tarfile.TarInfo("voices/._NATF0.pt"), b"a Mac's"))
    found = voice_files(root)
    assert list(found) == ["NATF0"]
    assert voice_files(root) == found
    assert read_voices(root, CONFIG)["NATF0"].frames == read_voice(TINY, CONFIG).frames


def test_a_directory_without_voices_has_none(tmp_path: Path) -> None:
    assert voice_files(tmp_path) == {}


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (Evil(), "a pickle that holds more than tensors, which could run code"),
        (
            {"embeddings": torch.zeros(3, 1, 1, 32)},
            r"cache is missing; this model's voices have whole numbers \[1, 17, 4\]",
        ),
        ([1, 2], "no voice of PersonaPlex"),
        (
            {"embeddings": torch.zeros(3, 1, 1, 64), "cache": torch.zeros(1, 17, 4, dtype=torch.int64)},
            r"embeddings are float32 \[3, 1, 1, 64\]; this model's voices have floats \[n, 1, 1, 32\]",
        ),
        (
            {"embeddings": torch.zeros(3, 1, 1, 32), "cache": torch.full((1, 17, 4), 4000)},
            "cache holds tokens that this model does not have",
        ),
        (
            {"embeddings": torch.full((3, 1, 1, 32), torch.nan), "cache": torch.zeros(1, 17, 4, dtype=torch.int64)},
            "some embeddings are no numbers",
        ),
    ],
    ids=["a pickle that runs code", "no cache", "no voice", "another model's", "tokens out of range", "no numbers"],
)
def test_a_file_that_is_no_voice_of_the_model_is_one_sentence(held: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_voice(saved(tmp_path, held), CONFIG)


def test_a_bare_pickle_and_a_torn_file_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "V.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="could run code"):
        read_voice(path, CONFIG)
    path.write_bytes(TINY.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"no file of torch\.save, or a damaged one; download it again"):
        read_voice(path, CONFIG)


def _link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (tarfile.TarInfo("voices/../../V.pt"), r"'voices/\.\./\.\./V\.pt' would be written elsewhere"),
        (tarfile.TarInfo("/etc/V.pt"), "would be written elsewhere"),
        (_link("voices/V.pt"), "is no file but a link or a device"),
    ],
    ids=["../", "absolute", "link"],
)
def test_an_archive_that_leads_elsewhere_is_refused_and_nothing_of_it_is_kept(
    member: tarfile.TarInfo, words: str, tmp_path: Path
) -> None:
    root = archive(tmp_path, (tarfile.TarInfo("voices/A.pt"), TINY.read_bytes()), (member, b""))
    for _ in range(2):
        with pytest.raises(CheckpointError, match=words):
            voice_files(root)
    assert not list(Path(os.environ["ANTIPHON_CACHE"]).glob("voices/*"))


def test_an_archive_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    root = archive(tmp_path, (tarfile.TarInfo("voices/A.pt"), TINY.read_bytes()))
    (root / "voices.tgz").write_bytes((root / "voices.tgz").read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"a damaged archive .*; download it again"):
        voice_files(root)
