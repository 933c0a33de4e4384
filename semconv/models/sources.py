"""Where models, tokenizers, SAEs and text come from: the package's assets, a folder, or pinned repositories on the hub.

Whatever is on the hub becomes a local folder or file here, through the hub's own client (its cache, HF_HOME, HF_TOKEN,
HF_ENDPOINT and HF_HUB_OFFLINE work as everywhere); every stage after this reads files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semconv.models.downloads import bar_of
from semconv.models.hub_errors import UnreachableError, hub_errors
from semconv.models.libraries import import_sae_lens
from semconv.models.model_files import weights_file
from semconv.runs.run import Progress
from semconv.suite.config import CorpusConfig, ModelConfig, SaeConfig, resolve
from semconv.system.errors import InputError, nearest
from semconv.text.tokenizer import FILES, SETTINGS, find_tokenizer

HUB = "hub:"
_MODEL_FILES = ["*.safetensors", "*.json", "tokenizer.model", "merges.txt", "vocab.txt"]  # no pickles, no code


def on_hub(path: str) -> bool:
    """Whether a path of a suite names a repository on the hub."""
    return path.startswith(HUB)


def _described(path: str, revision: str) -> str:
    return path.removeprefix(HUB) + (f" at revision {revision}" if revision else "")


READABLE, CACHED = "readable", "in the local cache"
UNREACHABLE = "the hub cannot be reached, and it is not in the local cache"


def hub_repositories(corpus: CorpusConfig, models: Sequence[ModelConfig]) -> list[tuple[str, str, str]]:
    """Returns kind (model, dataset or SAE), name and revision of every repository that is read from the hub, once each.

    Raises:
        InputError: an SAE of a release that sae-lens does not know.
    """
    found = [("model", m.path.removeprefix(HUB), m.revision) for m in models if on_hub(m.path)]
    found += [("SAE", release_repository(s)[0], s.revision) for m in models for s in m.saes if s.release]
    if on_hub(corpus.tokenizer):
        found.append(("model", corpus.tokenizer.removeprefix(HUB), corpus.tokenizer_revision))
    if corpus.kind == "hub":
        found.append(("dataset", corpus.path, corpus.revision))
    return list(dict.fromkeys(found))


def hub_access(kind: str, name: str, revision: str) -> str:
    """Returns whether a repository can be read now: READABLE, CACHED, UNREACHABLE, or the reason why not."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.file_download import repo_folder_name

    repo_type = "dataset" if kind == "dataset" else "model"
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=repo_type)
    main = folder / "refs" / "main"
    commit = revision or (main.read_text(encoding="utf-8").strip() if main.is_file() else "")
    if commit and (folder / "snapshots" / commit).is_dir():
        return CACHED
    try:
        with hub_errors(f"{kind} {name}"):
            api = HfApi()
            api.repo_info(name, repo_type=repo_type, revision=revision or None, timeout=5.0)
            api.auth_check(name, repo_type=repo_type)
    except UnreachableError:
        return UNREACHABLE
    except InputError as error:
        return str(error)
    return READABLE


def model_folder(model: ModelConfig, progress: Progress | None = None) -> Path:
    """Returns the folder of a model, downloaded first if it is on the hub and not in the cache, or its GGUF file.

    Args:
        model: as in a suite.
        progress: shown the bytes of a download; without it the hub's client shows bars of its own.

    Raises:
        InputError: the hub cannot be reached or has no such repository (`hub_errors`), a repository without
            safetensors, or a folder with several GGUF files and no safetensors.
    """
    if not on_hub(model.path):
        return weights_file(resolve(model.path)) or resolve(model.path)
    from huggingface_hub import snapshot_download

    what = f"model {_described(model.path, model.revision)}"
    with hub_errors(what):
        folder = Path(
            snapshot_download(
                model.path.removeprefix(HUB),
                revision=model.revision or None,
                allow_patterns=_MODEL_FILES,
                tqdm_class=bar_of(progress, f"download {model.name}"),
            )
        )
    if not (folder / "config.json").exists() or not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{what} has no config.json with safetensors beside it, and no other weights are read from the hub"
        )
    return folder


def tokenizer_file(config: CorpusConfig) -> Path:
    """Returns the file that holds the tokenizer of a corpus (`semconv.text.tokenizer.find_tokenizer`).

    Raises:
        InputError: a folder without one, or a repository that the hub does not give (`hub_errors`).
    """
    if not on_hub(config.tokenizer):
        path = resolve(config.tokenizer)
        return tokenizer_in(path, str(path)) if path.is_dir() else path
    from huggingface_hub import snapshot_download

    what = f"tokenizer of {_described(config.tokenizer, config.tokenizer_revision)}"
    name, revision = config.tokenizer.removeprefix(HUB), config.tokenizer_revision or None
    with hub_errors(what):
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*FILES, *SETTINGS, "merges.txt"]))
    return tokenizer_in(folder, what)


def tokenizer_in(folder: Path, what: str) -> Path:
    """Returns the file of a folder that holds its tokenizer; `what` names the folder.

    Raises:
        InputError: it has none.
    """
    found = find_tokenizer(folder)
    if found is None:
        raise InputError(f"{what} has no tokenizer: none of {', '.join(FILES)}, and no single .gguf file")
    return found


def text_files(config: CorpusConfig, progress: Progress | None = None) -> list[Path]:
    """Returns the files that hold the text of a corpus of kind `file` or `hub`; `progress` as for `model_folder`.

    Raises:
        InputError: a path that does not exist, or a data set that the hub does not give (`hub_errors`).
    """
    if config.kind == "file":
        from semconv.text.text_files import source_files

        return source_files(Path(config.path))
    from huggingface_hub import hf_hub_download

    with hub_errors(f"data set {_described(config.path, config.revision)}"):
        return [
            Path(
                hf_hub_download(
                    config.path,
                    file,
                    repo_type="dataset",
                    revision=config.revision or None,
                    tqdm_class=bar_of(progress, f"download {file}"),
                )
            )
            for file in config.files
        ]


def release_repository(sae: SaeConfig) -> tuple[str, str]:
    """Returns repository and folder in it of an SAE of a release.

    Raises:
        InputError: sae-lens's list has no such release or SAE; names the nearest.
    """
    import_sae_lens()
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    releases = get_pretrained_saes_directory()
    known = releases.get(sae.release)
    if known is None:
        if "/" not in sae.release:
            raise InputError(f"unknown SAE release {sae.release!r}{nearest(sae.release, list(releases))}")
        return sae.release, sae.sae_id
    if sae.sae_id not in known.saes_map:
        hint = nearest(sae.sae_id, list(known.saes_map))
        raise InputError(f"release {sae.release} has no SAE {sae.sae_id!r}{hint}")
    return known.repo_id, known.saes_map[sae.sae_id]


def neuronpedia_id(sae: SaeConfig) -> str:
    """Returns what Neuronpedia calls an SAE, such as `gemma-2-2b/12-gemmascope-res-16k`; empty where it has none."""
    if not sae.release:
        return ""
    import_sae_lens()
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    known = get_pretrained_saes_directory().get(sae.release)
    return (known.neuronpedia_id.get(sae.sae_id) or "") if known else ""


def check_release_revision(sae: SaeConfig) -> str:
    """Returns the commit that a release's SAE is read from; for sae-lens's own loaders that of the main branch.

    Raises:
        InputError: it is not the commit that the suite pins, or the hub cannot be asked (`hub_errors`).
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.file_download import repo_folder_name

    repository, _ = release_repository(sae)
    if sae.loader and sae.revision:
        return sae.revision
    kept = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model") / "refs" / "main"
    with hub_errors(f"SAE release {repository}"):
        if constants.HF_HUB_OFFLINE and kept.is_file():
            found = kept.read_text(encoding="utf-8").strip()
        else:
            found = str(HfApi().model_info(repository).sha)
    if sae.revision and found != sae.revision:
        raise InputError(f"SAE release {repository} is at commit {found}, the suite pins {sae.revision}")
    return found
