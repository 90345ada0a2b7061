"""Parts of transformers' models, loaded from folders or the hub's cache; errors name the unsound file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import tokenizers
import transformers

from ...errors import WeightsError
from ...paths import weights_root
from ...weights_file import UnsoundFile, cause_of, check_real, form_of, read_object, read_state
from ..weights.download import offline
from ..weights.hub import WEIGHTS, cached, fetch_model, files_of_model
from ..weights.origin import check_digest
from ..weights.requirement import OTHERWISE, WeightsRequirement, fault_of

Part = Literal["configuration", "tokenizer", "image processor", "model"]

MODELS = "models"
"""The folder for models by name in the weights folder."""

VOCABULARIES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model"),
    *("spm.model", "sentencepiece.bpe.model"),
)
"""Files with a tokenizer's words; where `tokenizer.json` exists, it alone is read."""


def load_part(loader: Any, name: str, part: Part, *, download: bool = True, **options: Any) -> Any:
    """Return a part of a model, loaded by transformers. No code of the model's own is run.

    Args:
        loader: a class such as `transformers.AutoModel`.
        name: a model's name on the Hugging Face hub, or a folder that holds one.
        part: the part that the loader reads; decides which files are checked.
        download: whether missing files may be downloaded.
        options: keyword arguments of its `from_pretrained`.

    Raises:
        WeightsError: the part cannot be loaded; names the file where one is the cause.
    """
    place = place_of(name)
    may_download = download and not offline() and not Path(place).is_dir()
    check_part(place, part)
    if may_download and not _is_here(name, part):  # transformers would make a tokenizer up from the configuration alone
        fetch_model(name)
    try:
        with _quiet():
            try:  # local files are used without asking the hub
                return _load(loader, place, part, options)
            except (OSError, ValueError) as error:
                if not may_download:
                    raise
                _fetch_rest(name, part, error)
            return _load(loader, place, part, options)
    except WeightsError:
        raise
    except Exception as error:  # a damaged file can raise errors of any library below, and of Python
        check_part(place, part, whole=True)
        if "trust_remote_code" in str(error):
            raise WeightsError(
                f"the {part} of {name} is made by code of its own, which is never run",
                expected=f"a model of a type that transformers {transformers.__version__} knows",
                found="an auto_map to the code among its files",
                next_step="choose a model whose type the library knows",
            ) from error
        _check_known(name)
        raise loading_error(name, part, cause_of(error)) from error


def load_model(name: str, *, loader: Any = transformers.AutoModel, spare: tuple[str, ...] = (), **options: Any) -> Any:
    """Return a trained model in float32 and evaluation mode, whole.

    Args:
        name: its name on the hub, or its folder.
        loader: the class that loads it.
        spare: prefixes of tensors that are not used, and may be missing.
        options: keyword arguments of `from_pretrained`, for example the configuration of a part of the model.

    Raises:
        WeightsError: it cannot be loaded, lacks tensors of its architecture, or has some of another shape.
    """
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # mismatches are refused below, by name
    model, loading = load_part(loader, name, "model", **options)
    other = sorted(
        (key,) if isinstance(key, str) else key for key in loading["mismatched_keys"]
    )  # (name, file's, ours)
    if other:
        ours = model.state_dict()
        raise WeightsError(
            f"the weights of {name} differ from its config.json in the shape of {len(other)} tensors",
            expected=", ".join(f"{key} {tuple(ours[key].shape)}" for key, *_ in other[:3]),
            found=", ".join(
                f"{key} {tuple(shapes[0]) if shapes else 'of another shape'}" for key, *shapes in other[:3]
            ),
            next_step="take config.json and weights from the same model",
        )
    missing = sorted(key for key in loading["missing_keys"] if not key.startswith(spare))
    if missing:
        unknown = sorted(loading["unexpected_keys"])
        raise WeightsError(
            f"the weights of {name} lack {len(missing)} tensors of its architecture",
            expected=", ".join(missing[:3]),
            found=f"{len(unknown)} that it does not have: {', '.join(unknown[:3])}" if unknown else None,
            next_step="choose a model whose file holds the whole encoder",
        )
    return model.float().eval().requires_grad_(False)


def _load(loader: Any, place: str, part: Part, options: dict[str, Any]) -> Any:
    for path in _files_of(place):
        if part == "model" or path.suffix not in (".safetensors", ".bin"):
            check_digest(path)
    return loader.from_pretrained(place, local_files_only=True, trust_remote_code=False, **options)


def _fetch_rest(name: str, part: Part, error: Exception) -> None:
    """Download what is missing of a model that could not be loaded; without a network, its own error says more."""
    try:
        fetch_model(name)
    except WeightsError:
        if _is_here(name, part):
            raise error from None
        raise


def _is_here(name: str, part: Part) -> bool:
    """Return whether the first file of a part of a model is here; others may be missing."""
    if part == "model":
        return any(path.exists() for path in weight_files(name))
    return any(locate(name, file) for file in (VOCABULARIES if part == "tokenizer" else ("config.json",)))


def place_of(name: str) -> str:
    """Return where a model is read from: its own folder, one of its name in the weights folder, else its name."""
    own = weights_root() / MODELS / name
    return str(own) if not Path(name).is_dir() and ".." not in name and (own / "config.json").is_file() else name


def _files_of(name: str) -> list[Path]:
    """Return the local files that are read of a model."""
    first = locate(name, "config.json")
    there = {path.name: path for path in first.parent.iterdir()} if first is not None else {}
    return [there[file] for file in files_of_model(there) if there[file].is_file()]


def check_part(name: str, part: Part, *, whole: bool = False) -> None:
    """Check that no local file of a part of a model is a pointer, a web page, empty or truncated.

    Args:
        name: the model's name or folder.
        part: the part whose files are checked.
        whole: whether to read the weights too, not only their header and length.

    Raises:
        WeightsError: names the file, its expected contents, and what it is.
    """
    if Path(name).is_file():
        raise WeightsError(
            f"{name}: a file, where a model's folder is wanted",
            expected="a folder with config.json, the weights and a tokenizer, or a model's name",
            next_step=f"name its folder: {Path(name).parent}",
        )
    _check_object(name, "config.json", "the model's configuration")
    if part == "image processor":
        _check_object(name, "preprocessor_config.json", "the image processor's configuration")
    elif part == "tokenizer":
        _check_object(name, "tokenizer_config.json", "the tokenizer's configuration")
        _check_words(name, whole)
    elif part == "model":
        for path in weight_files(name):
            named = path.suffix == ".safetensors"
            with _reported(
                name, path, f"the weights of a model, whole, as {'safetensors' if named else 'a PyTorch file'}"
            ):
                form = form_of(path)
                if (form == "safetensors") != named:
                    raise UnsoundFile(f"a file of the form {form}", f"name it as such: {WEIGHTS[0]} or {WEIGHTS[2]}")
                if whole:
                    read_state(path)


def locate(name: str, file: str) -> Path | None:
    """Return a model's file in its folder, the weights folder or the hub's cache, or None; a broken link, too."""
    place = Path(place_of(name))
    if place.is_dir():
        path = place / file
        return path if path.is_file() or (path.is_symlink() and not path.exists()) else None
    return cached(name, file)


def weight_files(name: str) -> list[Path]:
    """Return the local files with a model's weights: one, the shards of its index, or none.

    Raises:
        WeightsError: the index cannot be read.
    """
    found = [path for path in (locate(name, file) for file in WEIGHTS) if path is not None]
    first = next((path for path in found if path.exists()), next(iter(found), None))
    if first is None or first.suffix != ".json":
        return [] if first is None else [first]
    with _reported(name, first, "a JSON object whose weight_map names the file of each tensor"):
        shards = read_object(first).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(file, str) for file in shards.values()):
            raise UnsoundFile("no such weight_map")
    folder = Path(place_of(name)).is_dir()  # in a folder every shard must exist; the hub's are downloaded
    located = ((file, locate(name, file)) for file in sorted(set(shards.values())))
    return [path or first.parent / file for file, path in located if path is not None or folder]


def model_needs(name: str, what: str) -> WeightsRequirement:
    """Return the weights of a model by name or folder; `what` says of which kind it is."""
    try:
        files = weight_files(name)
    except WeightsError as error:
        return WeightsRequirement(name, what, name, None, str(error))
    found = next((path for path in files if fault_of(path)), files[0] if files else None)
    if Path(name).is_dir():
        return WeightsRequirement(name, what, name, found, "put config.json and model.safetensors into the folder")
    packed = {f"{MODELS}/{name}/{path.name}": path for path in _files_of(name)} if found is not None else {}
    return WeightsRequirement(
        name,
        what,
        f"{weights_root() / MODELS}, then {huggingface_hub.constants.HF_HUB_CACHE}",
        found,
        f"downloaded when first used; by hand: hf download {name}",
        packed,
        lambda: None if Path(place_of(name)).is_dir() or (offline() and found is not None) else fetch_model(name),
    )


def loading_error(name: str, part: Part, cause: str) -> WeightsError:
    """Return the error for a part that cannot be loaded, where none of its files is the cause."""
    folder = Path(name).is_dir()
    return WeightsError(
        f"the {part} of {name} cannot be loaded: {cause}",
        expected=f"config.json, weights and a tokenizer of a model that transformers {transformers.__version__} knows"
        if folder
        else "a model in the Hugging Face cache (HF_HOME), a network to download it, or a folder that holds it",
        next_step=("download the model's files again" if folder else "`itin weights` says where it is searched for")
        + f"; or {OTHERWISE}",
    )


def _check_known(name: str) -> None:
    """Check that the installed transformers has the architecture of a model, in its own code."""
    path = locate(name, "config.json")
    config = {} if path is None else read_object(path)
    kind, by = config.get("model_type"), config.get("transformers_version")
    if not isinstance(kind, str) or kind in transformers.CONFIG_MAPPING or "auto_map" in config:
        return
    raise WeightsError(
        f"{name}: its model_type {kind} is not known to the installed transformers",
        expected=f"a transformers that knows it; the model was saved by {by}" if by else "a transformers that knows it",
        found=f"transformers {transformers.__version__}",
        next_step="pip install --upgrade transformers, or choose another model",
    )


def _check_object(name: str, file: str, what: str) -> None:
    path = locate(name, file)
    if path is not None:
        with _reported(name, path, f"a JSON object, {what}"):
            read_object(path)


def _check_words(name: str, whole: bool) -> None:
    """Check the files with a tokenizer's words; those beside `tokenizer.json` are not read."""
    path = locate(name, VOCABULARIES[0])
    _check_object(name, VOCABULARIES[0], "a tokenizer")
    if path is not None and whole:
        with _reported(name, path, "a tokenizer"):
            try:
                tokenizers.Tokenizer.from_file(str(path))
            except Exception as error:  # the library raises plain exceptions
                raise UnsoundFile(f"a file that cannot be read ({cause_of(error)})") from error
    for file in (*VOCABULARIES[1:], "merges.txt") if path is None else ():
        path = locate(name, file)
        if path is not None:
            with _reported(name, path, "the words of a tokenizer"):
                check_real(path)


@contextmanager
def _reported(name: str, path: Path, expected: str) -> Iterator[None]:
    try:
        yield
    except UnsoundFile as fault:
        cached = not Path(name).is_dir()
        raise WeightsError(
            f"{path}: not what its name says",
            expected=expected,
            found=fault.found,
            next_step=f"download it again: hf download {name} --force-download" if cached else fault.next_step,
        ) from fault


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's reports off the terminal; missing weights are checked and reported by the caller."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        transformers.logging.enable_progress_bar()
