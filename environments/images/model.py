"""A language model of our own for llama.cpp: small, the same bytes every time, and answering in words.

Its weights are drawn from integers of a fixed seed, so that no library's floating point has a say in them. One axis of
every embedding is a constant by which the output prefers whole words to single bytes: what it says has no meaning, is
readable, and is the same for the same prompt and seed.
"""

from __future__ import annotations

from pathlib import Path

SEED = 20_261_125
EMBEDDING, HEADS, LAYERS, FEED, CONTEXT = 64, 2, 1, 128, 2048
LEAN = 3.0  # of the constant axis
SPECIAL = ("<unk>", "<s>", "</s>")
TEXT = (
    "the a an entity graph node edge tenant policy site link queue sync ledger signal report key token licence bundle "
    "record audit control plane data local remote core field relay window frame packet route path trust proof claim "
    "is was are has holds moves waits sends keeps knows finds opens closes meets follows leads carries returns "
    "and or but not only then when where while before after between within under over from to in on at of for with "
    "small large quiet open closed steady late early near far new old first last next whole same other"
)
WORDS = TEXT.split()
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"


def write(path: Path) -> None:
    """Write the model (GGUF, float32) to `path`."""
    import gguf
    import numpy

    draws = numpy.random.RandomState(SEED)  # the generator whose stream numpy has frozen

    def weights(*shape: int, scale: float) -> numpy.ndarray:
        return (draws.randint(-1024, 1025, size=shape).astype(numpy.float32) / numpy.float32(1024)) * numpy.float32(
            scale
        )

    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *(f"\u2581{word}" for word in WORDS)]
    kind = gguf.TokenType
    kinds = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256, *[kind.NORMAL] * len(WORDS)]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("companyos-tiny")
    writer.add_license("Apache-2.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(number) for number in range(len(WORDS))])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)

    embedding = weights(len(tokens), EMBEDDING, scale=1.0)
    embedding[:, 0] = LEAN
    output = weights(len(tokens), EMBEDDING, scale=1.0)
    output[:259, 0] = -LEAN
    output[259:, 0] = LEAN
    output[2, 0] = LEAN - 1  # an answer may end by itself
    writer.add_tensor("token_embd.weight", embedding)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", numpy.ones(EMBEDDING, numpy.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}.{name}.weight", weights(EMBEDDING, EMBEDDING, scale=0.25))
        writer.add_tensor(f"{block}.ffn_norm.weight", numpy.ones(EMBEDDING, numpy.float32))
        writer.add_tensor(f"{block}.ffn_gate.weight", weights(FEED, EMBEDDING, scale=0.25))
        writer.add_tensor(f"{block}.ffn_up.weight", weights(FEED, EMBEDDING, scale=0.25))
        writer.add_tensor(f"{block}.ffn_down.weight", weights(EMBEDDING, FEED, scale=0.1))
    writer.add_tensor("output_norm.weight", numpy.ones(EMBEDDING, numpy.float32))
    writer.add_tensor("output.weight", output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
