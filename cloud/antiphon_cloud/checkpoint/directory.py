"""A model directory: finds its files by the names in config.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from antiphon_cloud.checkpoint.config_file import read_config
from antiphon_cloud.checkpoint.families import with_fewer_codebooks
from antiphon_cloud.checkpoint.files.other_formats import instead_of, refuse_other_format
from antiphon_cloud.checkpoint.files.shards import INDEX_SUFFIX, shards
from antiphon_cloud.checkpoint.hub_cache import hub_cache
from antiphon_cloud.errors import CheckpointError, ConfigError
from antiphon_cloud.model.config import ModelConfig

_SAFETENSORS = (".safetensors", ".sft", ".sfts")


@dataclass(frozen=True)
class ModelDirectory:
    """The files of a downloaded checkpoint. Each property looks for its file when read.

    Raises:
        CheckpointError: raised by a property whose file is missing or is no safetensors file.
    """

    root: Path
    config: ModelConfig

    @classmethod
    def open(cls, root: Path | str, codebooks: int | None = None) -> ModelDirectory:
        """Reads the directory's config.json; without one, the model is Moshi 7B.

        Args:
            root: the directory.
            codebooks: that a model which hears nobody is to generate; None for all of them.

        Raises:
            CheckpointError: there is no such directory.
            ConfigError: config.json describes no model that Antiphon runs, or none of so many codebooks.
        """
        root = Path(root)
        if not root.is_dir():
            raise CheckpointError(f"{root}: no such directory; a model directory holds config.json and the weights")
        path = root / "config.json"
        if path.exists():
            if not path.is_file():  # reading a pipe would block
                raise ConfigError(f"{path}: is no regular file; put the config.json of the checkpoint there")
            config = read_config(path)
            return cls(root, config if codebooks is None else with_fewer_codebooks(config, codebooks))
        config = ModelConfig()
        bare_codec = not (root / config.mimi_name).exists() and (root / "mimi.safetensors").exists()
        if bare_codec:
            with_config = (root / "mimi_config.json").exists()
            config = ModelConfig(
                mimi_name="mimi.safetensors", mimi_config_name="mimi_config.json" if with_config else None
            )
        return cls(root, config)

    @property
    def name(self) -> str:
        """The directory's name; in a Hugging Face cache the repository's, as the directory's is a commit hash."""
        root = self.root.resolve()
        repository = root.parent.parent.name
        if root.parent.name == "snapshots" and repository.startswith("models--"):
            return repository.removeprefix("models--").replace("--", "/")
        return root.name

    @property
    def codec(self) -> Path:
        """Folder of the exported codec; it need not exist yet."""
        return self.root / "codec"

    @property
    def weights(self) -> Path:
        """The language model's weights, if they are one file."""
        return self._safetensors("moshi_name", self.config.moshi_name)

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """The files of the language model's weights: one, or those that an index names.

        Raises:
            CheckpointError: one is missing, or the index is damaged or names files elsewhere.
        """
        name = self.config.moshi_name
        if name.endswith(INDEX_SUFFIX):
            return shards(self._find("moshi_name", name))
        try:
            return (self.weights,)
        except CheckpointError as missing:
            try:
                index = self._find("moshi_name", name + INDEX_SUFFIX)
            except CheckpointError:
                raise missing from None
            return shards(index)

    @property
    def mimi(self) -> Path:
        """The codec's weights."""
        return self._safetensors("mimi_name", self.config.mimi_name)

    @property
    def mimi_config(self) -> Path | None:
        """The codec's sizes; None for the published ones."""
        name = self.config.mimi_config_name
        return None if name is None else self._find("mimi_config_name", name)

    @property
    def tokenizer(self) -> Path:
        """The sentencepiece model of the text stream."""
        path = self._find("tokenizer_name", self.config.tokenizer_name)
        refuse_other_format(path)
        return path

    @property
    def lora(self) -> Path | None:
        """The adapter's weights; None for a model without one."""
        if not self.config.lora:
            return None
        return self._safetensors("lora_name", self.config.lora_name or "lora.safetensors")

    def require_weights(self) -> None:
        """Checks that the language model's files exist, before anything is computed from its config.

        Raises:
            CheckpointError: a file is missing.
        """
        _ = self.weight_files, self.lora

    def _safetensors(self, key: str, name: str) -> Path:
        path = self._find(key, name)
        refuse_other_format(path)
        if path.suffix not in _SAFETENSORS:
            raise CheckpointError(f"{path}: {key} must name a .safetensors file; other formats can run code when read")
        return path

    def _find(self, key: str, name: str) -> Path:
        if name.startswith("hf://"):
            return self._find_hub(key, name.removeprefix("hf://"))
        path = self.root / name.removeprefix("file://")
        if not path.is_file():
            instead = instead_of(path) if key == "moshi_name" else ""
            raise CheckpointError(
                f"{path}: no such file; " + (instead or f"config.json's {key} (or its default) names it")
            )
        return path

    def _find_hub(self, key: str, name: str) -> Path:
        """A file of another repository, by its bare name in the directory or in Hugging Face's cache."""
        parts = name.split("/")
        if len(parts) < 3 or not all(parts) or {".", ".."} & set(parts):
            raise ConfigError(f"{self.root / 'config.json'}: {key}: expected hf://org/repo/path, got hf://{name}")
        org, repo, inner = parts[0], parts[1], "/".join(parts[2:])
        local = self.root / parts[-1]
        if local.is_file():
            return local
        cache = hub_cache() / f"models--{org}--{repo}"
        revision = cache / "refs" / "main"
        if revision.is_file():
            cached = cache / "snapshots" / revision.read_text().strip() / inner
            if cached.is_file():
                return cached
        raise CheckpointError(f"{local}: no such file; download hf://{name} and put it there")
