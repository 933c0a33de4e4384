"""Finds an SAE in a folder or on the hub, recognises its format, and reads its config or all of it."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semconv.models import dictionary_learning, sparsify
from semconv.models.hub_errors import hub_errors
from semconv.models.libraries import import_sae_lens
from semconv.models.sae_metadata import SaeMetadata, check_usable, metadata_of
from semconv.system.errors import InputError, refusing
from semconv.system.json_toml import read_json

if TYPE_CHECKING:
    from sae_lens import SAE


@dataclass(frozen=True)
class Format:
    """How another library than sae-lens writes an SAE.

    Attributes:
        files: names of its files, the config first.
        above: name of a file that may lie beside the folder.
        config: folder -> config in sae-lens's form.
        tensors: folder, config and device -> weights by sae-lens's names.
    """

    files: tuple[str, str]
    config: Callable[[Path], dict[str, Any]]
    tensors: Callable[[Path, dict[str, Any], str], dict[str, Tensor]]
    above: str = ""


FORMATS = {
    "sparsify": Format(sparsify.FILES, sparsify.read_config, sparsify.read_tensors, sparsify.ABOVE),
    "dictionary_learning": Format(
        dictionary_learning.FILES, dictionary_learning.read_config, dictionary_learning.read_tensors
    ),
}
"""By the name of the loader in a suite; the empty name is sae-lens."""

_CHECKPOINTS = ("batchtopk", "matryoshka_batchtopk")
"""Architectures of sae-lens's training checkpoints that have another name once they are saved for use."""

_KNOWN_ELSEWHERE = {
    "params.npz": "Gemma Scope's; name it by its release, as in gemma-scope-2b-pt-res:layer_12/width_16k/average_l0_82",
    "ae.pt": "dictionary_learning's, without the config.json that names its class",
    "hyperparams.json": "Llama Scope's; name it by its release, as in llama_scope_lxr_8x:l12r_8x",
}


def format_of_folder(folder: Path) -> str:
    """Returns the loader of an SAE on disk, `sparsify`, `dictionary_learning`, or empty for sae-lens.

    Raises:
        InputError: the folder holds no SAE that can be read.
    """
    if (folder / "cfg.json").is_file():
        return "sparsify" if sparsify.is_config(read_json(folder / "cfg.json")) else ""
    if (folder / "config.json").is_file() and dictionary_learning.is_config(read_json(folder / "config.json")):
        return "dictionary_learning"
    elsewhere = next(
        (f": its {name} is {what}" for name, what in _KNOWN_ELSEWHERE.items() if (folder / name).exists()), ""
    )
    raise InputError(
        f"cannot load SAE {folder}: an SAE on disk is a folder with cfg.json and safetensors (sae-lens, sparsify) or "
        f"with config.json and ae.pt (dictionary_learning){elsewhere}"
    )


def format_on_hub(release: str, sae_id: str, revision: str = "") -> str:
    """Returns the loader of an SAE of a repository that is in no list of sae-lens.

    Raises:
        InputError: the folder holds no SAE that can be read, or the hub cannot be reached or has no such repository.
    """
    from huggingface_hub import errors, hf_hub_download

    with hub_errors(f"SAE {release}:{sae_id}"):
        for name, is_config, loader in (
            ("cfg.json", sparsify.is_config, "sparsify"),
            ("config.json", dictionary_learning.is_config, "dictionary_learning"),
        ):
            try:
                config = hf_hub_download(release, f"{sae_id}/{name}", revision=revision or None)
            except errors.LocalEntryNotFoundError:
                raise
            except errors.EntryNotFoundError:
                continue
            if is_config(read_json(Path(config))):
                return loader
            if name == "cfg.json":
                return ""
    raise InputError(
        f"SAE {release}:{sae_id} has neither a cfg.json (sae-lens, sparsify) nor a config.json with ae.pt "
        "(dictionary_learning) in that folder of the repository"
    )


def listed(release: str, sae_id: str) -> tuple[str, str]:
    """Returns release and SAE of sae-lens's list, where what is given is the repository that one of them lies in.

    The list has facts that the repository lacks, such as how the model of the SAEs was loaded.
    """
    import_sae_lens()
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory, get_releases_for_repo_id

    for name in get_releases_for_repo_id(release):
        for known_id, folder in get_pretrained_saes_directory()[name].saes_map.items():
            if folder == sae_id:
                return name, known_id
    return release, sae_id


def read_metadata(
    path: str | Path | None = None, release: str = "", sae_id: str = "", loader: str = "", revision: str = ""
) -> SaeMetadata:
    """Returns the metadata of an SAE, which is read from its config without its weights; arguments as in `load_sae`.

    Raises:
        InputError: it cannot be found or read, or is not compared.
    """
    what = str(path) if path is not None else f"{release}:{sae_id}"
    with _reading(what):
        found = _metadata(path, release, sae_id, _known(loader), revision)
    check_usable(found, what)
    return found


def load_sae(
    path: str | Path | None = None,
    release: str | None = None,
    sae_id: str | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    loader: str = "",
    revision: str = "",
) -> SAE[Any]:
    """Loads an SAE or transcoder, from a folder or from a release on the model hub.

    It takes streams [n, d_in]; of `attn.hook_z`, the heads one after the other.

    Args:
        path: a folder in the format of sae-lens, sparsify or dictionary_learning.
        release: release in sae-lens's list, or OWNER/NAME of a repository, when there is no path.
        sae_id: name of the SAE in the release, or its folder in the repository.
        dtype: of the weights and of what is computed with them, float32 or bfloat16.
        device: torch device.
        loader: `sparsify` or `dictionary_learning` for repositories of these, which are in no list of sae-lens.
        revision: commit, for these two; sae-lens's own loaders always read the main branch.

    Raises:
        InputError: the SAE cannot be found or read, is of an architecture that is not supported, or an unknown loader.
    """
    import_sae_lens()
    from sae_lens import SAE

    if path is None and (release is None or sae_id is None):
        raise InputError("an SAE needs a path, or a release and an sae_id")
    metadata = read_metadata(path, release or "", sae_id or "", loader, revision)
    name, what = str(dtype).removeprefix("torch."), str(path) if path is not None else f"{release}:{sae_id}"
    loader = _known(loader) if path is None else format_of_folder(Path(path))
    with _reading(what):
        if path is None and not loader:
            sae = SAE.from_pretrained(*listed(release or "", sae_id or ""), dtype=name)
        elif not loader and metadata.architecture in _CHECKPOINTS:
            sae = _from_checkpoint(Path(str(path)), name)
        elif not loader:
            sae = SAE.load_from_disk(str(path), dtype=name)
        else:
            folder = Path(path) if path is not None else _download(release or "", sae_id or "", loader, revision)
            sae = _from_other(folder, FORMATS[loader], name)
        _check_finite(sae)
    sae.turn_off_forward_pass_hook_z_reshaping()
    return sae.to(device).eval()


def _check_finite(sae: SAE[Any]) -> None:
    """Raises InputError for weights that are not finite; a threshold may be infinite: that feature is never active."""
    for name, tensor in sae.state_dict().items():
        wrong = tensor.isnan() if name == "threshold" else ~tensor.isfinite()
        if tensor.is_floating_point() and bool(wrong.any()):
            raise ValueError(f"{int(wrong.sum())} of the numbers in {name} are not finite")


def _known(loader: str) -> str:
    if loader not in ("", *FORMATS):
        raise InputError(f"SAE loader must be {' or '.join(FORMATS)}, or nothing for sae-lens's own, got {loader!r}")
    return loader


@contextmanager
def _reading(what: str) -> Generator[None]:
    """Within it, errors of libraries become one sentence, and their warnings about what is handled here are hidden."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*This SAE has non-empty model_from_pretrained_kwargs", UserWarning)
        with refusing(f"cannot load SAE {what}"), hub_errors(f"SAE {what}"):
            try:
                yield
            except pickle.UnpicklingError:
                raise InputError(
                    f"cannot load SAE {what}: its file holds more than tensors, which is not read because it could run "
                    "code"
                ) from None


def _metadata(path: str | Path | None, release: str, sae_id: str, loader: str, revision: str) -> SaeMetadata:
    import_sae_lens()
    from sae_lens.loading.pretrained_sae_loaders import (
        get_conversion_loader_name,
        get_sae_lens_config_from_disk,
        load_sae_config_from_huggingface,
    )
    from sae_lens.loading.pretrained_saes_directory import get_norm_scaling_factor

    if path is not None and not format_of_folder(Path(path)):
        return metadata_of(_with_defaults(get_sae_lens_config_from_disk(path)))
    if path is not None or loader:
        folder = Path(path) if path is not None else _download(release, sae_id, loader, revision, config_only=True)
        return metadata_of(FORMATS[loader or format_of_folder(folder)].config(folder))
    release, sae_id = listed(release, sae_id)
    found = metadata_of(load_sae_config_from_huggingface(release, sae_id))
    if get_conversion_loader_name(release) == "mntss_clt_layer_transcoder":
        return replace(found, architecture="clt")  # sae-lens sums its decoders to have one per feature
    folded = found.normalize == "expected_average_only_in" and get_norm_scaling_factor(release, sae_id) is not None
    return replace(found, normalize="none") if folded else found


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config with sae-lens's defaults; whether BOS was prepended only where the config itself says so.

    Without the version of sae-lens in it, a config passes for one of an earlier form, and its `metadata` would be lost.
    """
    import_sae_lens()
    from sae_lens.loading.pretrained_sae_loaders import handle_config_defaulting

    if config.get("architecture") in _CHECKPOINTS:
        return config
    own: dict[str, Any] = config.get("metadata") or {}
    full = handle_config_defaulting(dict(config))
    says = {} if "prepend_bos" in {**config, **own} else {"prepend_bos": None}
    return {**full, "metadata": {**full.get("metadata", {}), **own, **says}}


def _download(release: str, sae_id: str, loader: str, revision: str, config_only: bool = False) -> Path:
    """Returns the local folder of an SAE on the hub."""
    from huggingface_hub import errors, hf_hub_download

    form = FORMATS[loader]
    if form.above:
        above = sparsify.hookpoint_of(PurePosixPath(sae_id)).parent / form.above
        with suppress(errors.EntryNotFoundError):
            hf_hub_download(release, str(above), revision=revision or None)
    config, weights = (f"{sae_id}/{name}" for name in form.files)
    if not config_only:
        hf_hub_download(release, weights, revision=revision or None)
    return Path(hf_hub_download(release, config, revision=revision or None)).parent


def _from_other(folder: Path, form: Format, dtype: str) -> SAE[Any]:
    import_sae_lens()
    from sae_lens import SAE

    skip: dict[str, Tensor] = {}

    def convert(
        path: str | Path, device: str = "cpu", cfg_overrides: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config = {**form.config(Path(path)), **(cfg_overrides or {})}
        tensors = form.tensors(Path(path), config, device)
        for key, tensor in tensors.items():
            if key == "W_skip" and tensor.shape != (config["d_in"], config["d_in"]):
                raise ValueError(f"W_skip must be [{config['d_in']}, {config['d_in']}], got {list(tensor.shape)}")
        skip.update({name: tensors.pop(name) for name in ("W_skip",) if name in tensors})
        return config, tensors

    sae = SAE.load_from_disk(folder, dtype=dtype, converter=convert)
    for name, tensor in skip.items():
        sae.register_buffer(name, tensor.to(sae.dtype))
        sae.register_forward_hook(_add_skip)
    return sae


def _add_skip(sae: Any, given: tuple[Tensor], found: Tensor) -> Tensor:
    """Adds the skip connection, which sae-lens does not have for TopK, to what a transcoder makes of a stream."""
    return found + given[0].to(sae.W_skip) @ sae.W_skip.T


def _from_checkpoint(folder: Path, dtype: str) -> SAE[Any]:
    """Loads a training checkpoint of sae-lens as what sae-lens would have saved for use."""
    import_sae_lens()
    from sae_lens import SAE, TrainingSAE

    trained: Any = TrainingSAE.load_from_disk(folder, dtype=dtype)
    state: dict[str, Tensor] = trained.state_dict()
    trained.process_state_dict_for_saving_inference(state)
    sae: SAE[Any] = SAE.from_dict({**trained.cfg.get_inference_sae_cfg_dict(), "dtype": dtype})
    sae.process_state_dict_for_loading(state)
    sae.load_state_dict(state)
    return sae
