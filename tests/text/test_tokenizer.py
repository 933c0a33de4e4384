"""Tokenizers as people have them: what they encode is the text, and where their special tokens are told."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from semconv import InputError
from semconv.text.corpus import Document
from semconv.text.packing import Layout, rows_of, tokenize
from semconv.text.tokenizer import control_ids, find_tokenizer, load_tokenizer, special_tokens
from semconv.text.tokenizer_difference import difference
from semconv.text.top_tokens import token_texts
from tests.conftest import requires_models

tokenizers = pytest.importorskip("tokenizers")
TEXT = "the matrix returns a sparse array of float values, and an index for each row"


def byte_level(specials: list[str], corpus: str = TEXT, size: int = 300) -> Any:
    """A byte-level BPE, as GPT-2, Llama-3, Qwen and DeepSeek have it."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=specials,
        show_progress=False,
    )
    tokenizer.train_from_iterator([corpus], trainer)
    return tokenizer


def metaspace(specials: list[str]) -> Any:
    """A BPE over characters with spaces as marks, as Llama-2, Mistral and Gemma have it."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.Fuse(),
            tokenizers.decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=150, special_tokens=["<unk>", *specials], initial_alphabet=list("<>/s"), show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer


def word_piece() -> Any:
    """WordPiece in lower case, as BERT has it."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=80, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    tokenizer.train_from_iterator([TEXT + " cls ["], trainer)
    return around(tokenizer, "[CLS] $A [SEP]")


def unigram() -> Any:
    """Unigram whose vocabulary holds its control tokens, as T5 and XGLM have it."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -2.0), *((c, -3.0) for c in sorted(set(TEXT + "<>/")))]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 0, False))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def around(tokenizer: Any, template: str) -> Any:
    """Gives a tokenizer a post-processor."""
    names = [part for part in template.split() if part != "$A"]
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=template, special_tokens=[(name, tokenizer.token_to_id(name)) for name in set(names)]
    )
    return tokenizer


def saved(tokenizer: Any, folder: Path, files: dict[str, dict[str, Any]] | None = None) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, contents in (files or {}).items():
        (folder / name).write_text(json.dumps(contents))
    return folder / "tokenizer.json"


LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
DEEPSEEK = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
NAMED = "tokenizer_config.json"
LAYOUTS: dict[str, tuple[Any, dict[str, Any], str | None, str | None, str]] = {
    "Llama-3": (
        lambda: around(byte_level(LLAMA3), "<|begin_of_text|> $A"),
        {NAMED: {"bos_token": LLAMA3[0], "eos_token": LLAMA3[1]}},
        LLAMA3[0],
        LLAMA3[1],
        NAMED,
    ),
    "Llama-3, tokenizer.json alone": (
        lambda: around(byte_level(LLAMA3), "<|begin_of_text|> $A"),
        {},
        LLAMA3[0],
        LLAMA3[1],
        "the tokenizer's post-processor",
    ),
    "Llama-3, ids alone": (
        lambda: byte_level(LLAMA3),
        {"config.json": {"bos_token_id": 0, "eos_token_id": 2}, "generation_config.json": {"eos_token_id": [1, 2]}},
        LLAMA3[0],
        LLAMA3[2],
        "config.json",
    ),
    "Llama-3, ids of generation": (
        lambda: byte_level(LLAMA3),
        {"config.json": {}, "generation_config.json": {"bos_token_id": 0, "eos_token_id": [1, 2]}},
        LLAMA3[0],
        LLAMA3[1],
        "generation_config.json",
    ),
    "Llama-2 and Mistral": (
        lambda: around(metaspace(["<s>", "</s>"]), "<s> $A"),
        {NAMED: {"bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": {"content": "</s>"}}},
        "<s>",
        "</s>",
        NAMED,
    ),
    "DeepSeek": (
        lambda: byte_level(DEEPSEEK),
        {NAMED: {"bos_token": {"content": DEEPSEEK[0]}, "eos_token": {"content": DEEPSEEK[1]}, "add_bos_token": True}},
        DEEPSEEK[0],
        DEEPSEEK[1],
        NAMED,
    ),
    "Qwen, which has no BOS": (
        lambda: byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
        {
            NAMED: {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
            "config.json": {"bos_token_id": 0, "eos_token_id": 2},
        },
        None,
        "<|im_end|>",
        NAMED,
    ),
    "GPT-2 and GPT-NeoX, one token for all": (
        lambda: byte_level(["<|endoftext|>"]),
        {"config.json": {"bos_token_id": 0, "eos_token_id": 0}},
        "<|endoftext|>",
        "<|endoftext|>",
        "config.json",
    ),
    "GPT-2, tokenizer.json alone": (
        lambda: byte_level(["<|endoftext|>"]),
        {},
        "<|endoftext|>",
        "<|endoftext|>",
        "its name",
    ),
    "Gemma": (
        lambda: around(metaspace(["<pad>", "<eos>", "<bos>"]), "<bos> $A"),
        {NAMED: {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}},
        "<bos>",
        "<eos>",
        NAMED,
    ),
    "Gemma 3, ids of its text": (
        lambda: byte_level(["<a>", "<b>"]),
        {"config.json": {"text_config": {"bos_token_id": 1, "eos_token_id": 0}}},
        "<b>",
        "<a>",
        "config.json",
    ),
    "OPT, whose BOS is </s>": (
        lambda: byte_level(["<s>", "<pad>", "</s>"]),
        {"special_tokens_map.json": {"bos_token": "</s>", "eos_token": {"content": "</s>"}}},
        "</s>",
        "</s>",
        "special_tokens_map.json",
    ),
    "BERT": (word_piece, {"config.json": {"pad_token_id": 0}}, "[CLS]", "[SEP]", "the tokenizer's post-processor"),
    "XGLM": (unigram, {NAMED: {"bos_token": "<s>", "eos_token": "</s>"}}, "<s>", "</s>", NAMED),
    "default ids of a config that are other tokens": (
        lambda: byte_level(["<pad>", "<bos>", "<eos>"]),
        {"config.json": {"bos_token_id": 2, "eos_token_id": 1}},
        "<bos>",
        "<eos>",
        "its name",
    ),
    "default ids of a config that are letters": (
        lambda: byte_level(["<bos>"]),
        {"config.json": {"bos_token_id": 7, "eos_token_id": 9}},
        "<bos>",
        None,
        "its name",
    ),
    "nothing at all": (lambda: byte_level([]), {}, None, None, "nothing names one"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_special_tokens_are_where_people_have_them(layout: str, tmp_path: Path):
    make, files, bos, eos, source = LAYOUTS[layout]
    path = saved(make(), tmp_path, files)
    tokenizer = load_tokenizer(path)
    found = special_tokens(tokenizer, path)
    assert [i if i is None else tokenizer.id_to_token(i) for i in (found.bos, found.eos)] == [bos, eos]
    assert found.source == source
    assert tokenizer.id_to_token(found.pad) is not None
    blocks = tokenize([Document.of(TEXT), Document.of(f"{TEXT} {bos} {eos} <pad>")], tokenizer, 12, special=found)
    counted = blocks.ids[blocks.mask].tolist()
    assert not {found.bos, found.eos} & set(counted), "no control token counts, whatever the text holds"
    if bos is None:
        assert blocks.mask[0, 0]
    else:
        assert (blocks.ids[:, 0] == found.bos).all()
        assert not blocks.mask[:, 0].any()
    assert len(token_texts(tokenizer)) > max(counted)


@pytest.mark.parametrize(
    ("make", "said", "added"),
    [
        (lambda: around(byte_level(LLAMA3), "<|begin_of_text|> $A"), {}, True),
        (lambda: around(byte_level(LLAMA3), "<|begin_of_text|> $A"), {"add_bos_token": False}, False),
        (lambda: byte_level(LLAMA3), {}, False),
        (lambda: byte_level(LLAMA3), {"add_bos_token": True}, True),
        (lambda: byte_level(LLAMA3), {"add_bos_token": None}, False),
    ],
)
def test_whether_a_tokenizer_begins_with_bos_by_itself(make: Any, said: dict[str, Any], added: bool, tmp_path: Path):
    path = saved(make(), tmp_path, {NAMED: {"bos_token": LLAMA3[0], **said}})
    tokenizer = load_tokenizer(path)
    found = special_tokens(tokenizer, path)
    assert (found.bos, found.added) == (0, added)
    facts = rows_of([Document.of(TEXT)], tokenizer, Layout(64), None, found)[1]
    by_itself = "" if added else ", which the tokenizer does not put there by itself"
    assert facts.bos_rule == f"rows begin with <|begin_of_text|> ({NAMED}){by_itself}"


def test_the_models_folder_is_asked_where_the_tokenizers_says_nothing(tmp_path: Path):
    path = saved(byte_level(["<x>", "<y>"]), tmp_path / "elsewhere")
    (tmp_path / "config.json").write_text('{"bos_token_id": 1, "eos_token_id": 0}')
    tokenizer = load_tokenizer(path)
    assert special_tokens(tokenizer, path).bos is None
    found = special_tokens(tokenizer, path, [tmp_path])
    assert (found.bos, found.eos, found.source) == (1, 0, "config.json")


@pytest.mark.parametrize(("contents", "told"), [("{", "is not JSON"), ("[1]", "must hold a JSON object, got a list")])
def test_damaged_settings_are_refused_by_name(contents: str, told: str, tmp_path: Path):
    path = saved(byte_level(["<s>"]), tmp_path)
    (tmp_path / NAMED).write_text(contents)
    with pytest.raises(InputError, match=rf"{NAMED} {told}"):
        special_tokens(load_tokenizer(path), path)


@pytest.mark.parametrize(
    "make", [lambda: byte_level(["<pad>", "<s>"]), lambda: metaspace(["<pad>", "<s>"]), word_piece]
)
def test_padding_truncation_and_dropout_of_the_file_are_switched_off(make: Any, tmp_path: Path):
    tokenizer = make()
    plain = tokenizer.encode(TEXT, add_special_tokens=False).ids
    tokenizer.enable_padding(length=200, pad_id=0)
    tokenizer.enable_truncation(4)
    if hasattr(tokenizer.model, "dropout"):
        tokenizer.model.dropout = 0.9
    path = saved(tokenizer, tmp_path)
    assert len(tokenizers.Tokenizer.from_file(str(path)).encode(TEXT).ids) == 200
    for _ in range(3):
        assert load_tokenizer(path).encode(TEXT, add_special_tokens=False).ids == plain
    assert load_tokenizer(path).encode_batch([TEXT, "a"], add_special_tokens=False)[0].ids == plain


@pytest.mark.parametrize("word", ["<bos>", "<eos>", "<pad>", "<unk>", "<strips>", "<bos><eos>"])
def test_control_tokens_in_a_text_are_its_characters(word: str, tmp_path: Path):
    tokenizer = byte_level(["<pad>", "<bos>", "<eos>", "<unk>"])
    strips = tokenizers.AddedToken("<strips>", lstrip=True, rstrip=True)
    tokenizer.add_special_tokens([strips])
    tokenizer.add_tokens([tokenizers.AddedToken("<plain>", special=False)])
    tokenizer = load_tokenizer(saved(tokenizer, tmp_path))
    text = f"é the {word} row<plain> {word}"
    encoded = tokenizer.encode(text, add_special_tokens=False)
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    assert not special & set(encoded.ids)
    assert encoded.ids.count(tokenizer.token_to_id("<plain>")) == 1, "what is no control token stays one token"
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == text
    ends = [end for _, end in encoded.offsets]
    assert ends == sorted(ends)
    assert ends[-1] == len(text)
    assert {text[a:b] for a, b in encoded.offsets if "<" in text[a:b]} <= {"<", " <", "<plain>", "><"}


def test_control_tokens_that_a_tokenizer_reads_all_the_same_do_not_count(tmp_path: Path):
    tokenizer = load_tokenizer(saved(unigram(), tmp_path))
    assert "</s>" in tokenizer.encode("a </s> b", add_special_tokens=False).tokens
    special = special_tokens(tokenizer)
    assert control_ids(tokenizer, special) == {1, 2}
    blocks = tokenize([Document.of("a </s> row: é <unk>")], tokenizer, 40)
    counted = blocks.ids[blocks.mask].tolist()
    assert 2 not in counted
    assert 0 in counted, "what the tokenizer does not know is text"
    assert 2 in blocks.ids[0, 1:6].tolist(), "the model reads it"


def test_texts_of_tokens_keep_their_spaces_and_cover_holes():
    tokenizer = metaspace(["<s>", "</s>"])
    texts = token_texts(tokenizer)
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert "".join(texts[i] for i in ids) == " " + TEXT
    bare = byte_level([])
    bare.decoder = None
    assert token_texts(bare)[bare.token_to_id("Ġ")] == "Ġ"
    table = json.loads(byte_level([]).to_str())
    table["added_tokens"] = [
        {
            "id": 400,
            "content": "<far>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": False,
        }
    ]
    table["model"]["vocab"]["<far>"] = 400
    texts = token_texts(tokenizers.Tokenizer.from_str(json.dumps(table)))
    assert len(texts) == 401
    assert (texts[400], texts[399]) == ("<far>", "")


def lower_case() -> Any:
    tokenizer = byte_level(["<s>"])
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    return tokenizer


def other_merges() -> Any:
    table = json.loads(byte_level(["<s>"]).to_str())
    table["model"]["merges"] = table["model"]["merges"][1:]
    return tokenizers.Tokenizer.from_str(json.dumps(table))


def one_more(content: str, special: bool) -> Any:
    tokenizer = byte_level(["<s>"])
    token = tokenizers.AddedToken(content, special=special)
    (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
    return tokenizer


DIFFERENT: dict[str, tuple[Any, str | None]] = {
    "the same": (lambda: byte_level(["<s>"]), None),
    "the same, written with padding": (lambda: (t := byte_level(["<s>"]), t.enable_padding(length=9))[0], None),
    "a control token more": (lambda: one_more("<|chat|>", True), None),
    "a word more": (lambda: one_more("matrix", False), "differ in 1 of 301 tokens (such as 'matrix')"),
    "lower case": (lower_case, "give other tokens to the same text ("),
    "other merges": (other_merges, "give other tokens to the same text ("),
    "other tokens": (lambda: byte_level(["<s>"], "some other words, and no more"), "differ in "),
}


@pytest.mark.parametrize("kind", DIFFERENT)
@pytest.mark.parametrize("turned", [False, True])
def test_tokenizers_are_compared_by_what_they_do_both_ways(kind: str, turned: bool):
    make, told = DIFFERENT[kind]
    pair = (make(), byte_level(["<s>"])) if turned else (byte_level(["<s>"]), make())
    found = difference(*pair, [TEXT], 1000)
    assert found is None if told is None else found is not None and found.startswith(told)


def test_a_difference_that_only_the_users_text_shows():
    one, other = byte_level(["<s>"], size=400), byte_level(["<s>"], size=400)
    other.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Split("rix", "isolated"), other.pre_tokenizer]
    )
    assert difference(one, other, [], 1000) is None
    found = difference(one, other, ["no", TEXT], 1000)
    assert found is not None
    assert "'Ġmatrix' 'Ġreturns' 'Ġa' to one, 'Ġmat' 'rix' 'Ġreturns' to the other" in found
    assert difference(one, other, ["no " * 5000, TEXT], 1000) is None, "it looks no further than it is asked to"


def test_files_that_hold_a_tokenizer(tmp_path: Path):
    assert find_tokenizer(tmp_path) is None
    for name in ("model.gguf", "vocab.txt"):
        (tmp_path / name).touch()
        assert find_tokenizer(tmp_path) == tmp_path / name
    (tmp_path / "vocab.json").touch()
    assert find_tokenizer(tmp_path) == tmp_path / "vocab.txt", "a vocabulary without merges is none"
    for name in ("merges.txt", "tokenizer.model", "tokenizer.json"):
        (tmp_path / name).touch()
        assert find_tokenizer(tmp_path) == tmp_path / name.replace("merges.txt", "vocab.json")
    with pytest.raises(InputError, match=r"tokenizer .*tokenizer.json cannot be read"):
        load_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match=r"tokenizer .*none.json does not exist"):
        load_tokenizer(tmp_path / "none.json")


def sentencepiece_model(folder: Path, **settings: Any) -> Any:
    """Trains a SentencePiece BPE, as Llama-2 and Mistral have it, and returns SentencePiece's own reading of it."""
    sentencepiece = pytest.importorskip("sentencepiece")
    lines = iter([TEXT, *TEXT.split(), "abcdefghijklmnopqrstuvwxyz<>/"])
    settings = {"byte_fallback": True, "normalization_rule_name": "identity", "vocab_size": 340} | settings
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        remove_extra_whitespaces=False,
        minloglevel=2,
        hard_vocab_limit=False,
        **settings,
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


@requires_models
@pytest.mark.parametrize("model_type", ["llama", "mistral", "gemma"])
def test_a_sentencepiece_model_alone_is_converted_to_what_sentencepiece_does(model_type: str, tmp_path: Path):
    reference = sentencepiece_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": 340}))
    path = find_tokenizer(tmp_path)
    assert path == tmp_path / "tokenizer.model"
    tokenizer = load_tokenizer(path)
    for text in (TEXT, "The END: 3.14 é 日本\n\nx  y"):
        assert tokenizer.encode(text, add_special_tokens=False).ids == reference.encode(text)
    special = special_tokens(tokenizer, path)
    assert (special.bos, special.eos, special.source) == (1, 2, "tokenizer.model")
    blocks = tokenize([Document.of("a <s> row")], tokenizer, 30, special=special)
    assert special.bos not in blocks.ids[blocks.mask].tolist()
    assert int(blocks.ids.max()) < 340


@requires_models
def test_a_conversion_that_is_not_what_sentencepiece_does_is_refused(tmp_path: Path):
    sentencepiece_model(tmp_path, normalization_rule_name="nmt_nfkc_cf")  # folds case, which no conversion keeps here
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InputError, match=r"'.*' becomes .*, SentencePiece makes it .*; save it as tokenizer.json"):
        load_tokenizer(tmp_path / "tokenizer.model")


@requires_models
def test_what_transformers_cannot_convert_is_refused_with_the_way_out(tmp_path: Path):
    (tmp_path / "tokenizer.model").write_bytes(b"junk")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InputError, match=r"cannot be converted by transformers \(.*\); save it as tokenizer.json"):
        load_tokenizer(tmp_path / "tokenizer.model")


@requires_models
def test_the_vocabulary_files_of_gpt2_are_converted(tmp_path: Path):
    made = byte_level(["<|endoftext|>"])
    made.model.save(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "bos_token_id": 0, "eos_token_id": 0}')
    path = find_tokenizer(tmp_path)
    assert path == tmp_path / "vocab.json"
    tokenizer = load_tokenizer(path)
    assert tokenizer.encode(TEXT, add_special_tokens=False).ids == made.encode(TEXT, add_special_tokens=False).ids
    assert special_tokens(tokenizer, path).bos == 0


def gguf(path: Path, **metadata: Any) -> None:
    """Writes a GGUF file of version 3 that holds metadata and no tensor."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def entry(value: Any) -> bytes:
        if isinstance(value, str):
            return struct.pack("<I", 8) + text(value)
        if isinstance(value, int):
            return struct.pack("<II", 4, value)
        kind, parts = (
            (8, [text(v) for v in value]) if isinstance(value[0], str) else (5, [struct.pack("<i", v) for v in value])
        )
        return struct.pack("<IIQ", 9, kind, len(parts)) + b"".join(parts)

    entries = [text(key) + entry(value) for key, value in metadata.items()]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries))


@requires_models
@pytest.mark.parametrize("bos", [0, None])
def test_the_tokenizer_of_a_gguf_file(bos: int | None, tmp_path: Path):
    made = byte_level(["<|endoftext|>", "<|im_end|>"])
    vocabulary = made.get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    merges = [" ".join(merge) for merge in json.loads(made.to_str())["model"]["merges"]]
    metadata = {
        "general.architecture": "llama",
        "llama.context_length": 64,
        "llama.embedding_length": 16,
        "llama.block_count": 1,
        "llama.feed_forward_length": 32,
        "llama.attention.head_count": 2,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 3, *[1] * (len(tokens) - 2)],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": 1,
    }
    gguf(tmp_path / "model.gguf", **metadata, **({} if bos is None else {"tokenizer.ggml.bos_token_id": bos}))
    path = find_tokenizer(tmp_path)
    assert path == find_tokenizer(tmp_path / "model.gguf") == tmp_path / "model.gguf"
    tokenizer = load_tokenizer(path)
    assert tokenizer.encode(TEXT, add_special_tokens=False).ids == made.encode(TEXT, add_special_tokens=False).ids
    special = special_tokens(tokenizer, path)
    assert (special.bos, special.eos, special.source) == (bos, 1, "as transformers reads it")
    assert not special.added
    assert not {0, 1} & set(tokenizer.encode("a <|endoftext|> b", add_special_tokens=False).ids)
