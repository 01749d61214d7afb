#!/usr/bin/env python3
"""Writes models.toml, the catalogue of models and their prices, from a pinned public price list.

The list is the file model_prices_and_context_window_backup.json of the Python package litellm (MIT licence, Copyright (c) 2023 Berri AI).
The package's version and the list's SHA-256 are pinned below, so that the same commit always gives the same catalogue; the server reads
the result and never the network. To take a newer list: change VERSION and LIST_SHA256, run this, and read the difference.

    python3 make.py              fetches the package with pip and writes models.toml beside this file
    python3 make.py LIST.json    takes the list from a file
    python3 make.py --check ...  writes nothing; fails where models.toml is not what would be written
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from decimal import Decimal
from pathlib import Path

PACKAGE = "litellm"
VERSION = "1.109.1"
LIST = "litellm/model_prices_and_context_window_backup.json"
LIST_SHA256 = "8f8060d8ce7a40c91b995c74d6a27657543d49e3c1c53430dabd556f244392c6"
TARGET = Path(__file__).with_name("models.toml")

HEADER = f"""\
# Models with their prices, sizes and abilities. Written by make.py; change that, or lay a file of your own over this one.
#
# From {LIST.split("/")[1]} of {PACKAGE} {VERSION} (SHA-256 {LIST_SHA256}),
# Copyright (c) 2023 Berri AI, used under the MIT licence (the whole text is in LICENSE beside this file).
#
# One model a line, ordered by its id in bytes: the reader searches the lines without parsing them all.
# Prices are US dollars: per million tokens (input, output, cache_read, cache_write, cache_write_hour, audio_input, audio_output,
# audio_cache_read, reasoning), per million characters to be spoken (characters), per hour of sound (hour), per thousand searches of the
# provider's own (search, at its usual size). `above`: the prices of a request whose prompt has more tokens than that. `flex`, `priority`,
# `batch`: the prices of other services. `context` and `max_output` are tokens.
"""

# What the list calls a provider, and what is it called here. Who is missing here is left out: sellers that no preset reaches, and
# price lists of a contract (throughput bought in advance).
PROVIDERS = {
    "ai21": "ai21",
    "amazon_nova": "nova",
    "anthropic": "anthropic",
    "assemblyai": "assemblyai",
    "aws_polly": "polly",
    "azure": "azure",
    "azure_ai": "azure-ai",
    "azure_text": "azure",
    "baseten": "baseten",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "bedrock_mantle": "bedrock",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "codestral": "codestral",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "crusoe": "crusoe",
    "dashscope": "qwen",
    "databricks": "databricks",
    "deepgram": "deepgram",
    "deepinfra": "deepinfra",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks",
    "friendliai": "friendliai",
    "gemini": "gemini",
    "gmi": "gmi",
    "groq": "groq",
    "hyperbolic": "hyperbolic",
    "inception": "inception",
    "lambda_ai": "lambda",
    "meta_llama": "meta",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshot": "moonshot",
    "morph": "morph",
    "nebius": "nebius",
    "novita": "novita",
    "nscale": "nscale",
    "oci": "oci",
    "ollama": "ollama",
    "openai": "openai",
    "ovhcloud": "ovhcloud",
    "perplexity": "perplexity",
    "replicate": "replicate",
    "sambanova": "sambanova",
    "scaleway": "scaleway",
    "snowflake": "snowflake",
    "soniox": "soniox",
    "tencent": "tencent",
    "text-completion-codestral": "codestral",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vercel_ai_gateway": "vercel",
    "vertex_ai": "vertex",
    "volcengine": "volcengine",
    "voyage": "voyage",
    "wandb": "wandb",
    "watsonx": "watsonx",
    "xai": "xai",
    "zai": "zai",
}
# What the list may write before a model's name.
PREFIXES = sorted(
    set(PROVIDERS) | {"bedrock", "vertex_ai", "text-completion-codestral", "cohere", "vertex", "fireworks_ai", "azure"}, key=len, reverse=True
)
KINDS = {
    "chat": "chat",
    "responses": "responses",
    "completion": "completion",
    "embedding": "embedding",
    "audio_transcription": "transcription",
    "audio_speech": "speech",
    "realtime": "realtime",
}
# Our name, the list's name; dollars per token.
PRICES = [
    ("input", "input_cost_per_token"),
    ("output", "output_cost_per_token"),
    ("cache_read", "cache_read_input_token_cost"),
    ("cache_write", "cache_creation_input_token_cost"),
    ("cache_write_hour", "cache_creation_input_token_cost_above_1hr"),
    ("audio_input", "input_cost_per_audio_token"),
    ("audio_output", "output_cost_per_audio_token"),
    ("audio_cache_read", "cache_read_input_audio_token_cost"),
    ("reasoning", "output_cost_per_reasoning_token"),
]
# Our name of a service, what the list puts behind the names of its prices.
SERVICES = [("flex", "_flex"), ("priority", "_priority"), ("batch", "_batches")]
TAKES = [
    ("image", ("supports_vision", "supports_image_input"), "image"),
    ("audio", ("supports_audio_input",), "audio"),
    ("video", ("supports_video_input",), "video"),
    ("file", ("supports_pdf_input",), "pdf"),
]
GIVES = [("audio", ("supports_audio_output",), "audio"), ("image", (), "image")]
CAN = [
    ("tools", ("supports_function_calling",)),
    ("parallel_tools", ("supports_parallel_function_calling",)),
    ("schema", ("supports_response_schema", "supports_native_structured_output")),
    ("reasoning", ("supports_reasoning",)),
    ("cache", ("supports_prompt_caching",)),
    ("web_search", ("supports_web_search",)),
]


def fetched() -> bytes:
    """The list, out of the package."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = [f"{PACKAGE}=={VERSION}", "--no-deps", "--only-binary=:all:", "--dest", folder, "--quiet"]
        subprocess.run([sys.executable, "-m", "pip", "download", *wanted], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(LIST)


def provider_of(name: str) -> str | None:
    return PROVIDERS.get("vertex_ai" if name.startswith("vertex_ai-") else name)


def name_of(key: str) -> str:
    """The model's name, as its provider knows it."""
    for prefix in PREFIXES:
        if key.startswith(prefix + "/"):
            return key[len(prefix) + 1 :]
    return key


def number(value: Decimal) -> str:
    """In TOML, without an exponent; to the nearest thousand-millionth, which undoes the list's traces of binary fractions."""
    text = format(value.quantize(Decimal("1e-9")).normalize(), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def per_million(value) -> str | None:
    return None if value is None else number(Decimal(value) * 10**6)


def prices(entry: dict, suffix: str = "") -> list[tuple[str, str]]:
    """What an entry says of tokens; a price that would be taken anyway is left out."""
    found = {name: per_million(entry.get(key + suffix)) for name, key in PRICES}
    for name, default in [("reasoning", "output"), ("audio_input", "input"), ("audio_output", "output")]:
        if found[name] == found[default]:
            found[name] = None
    return [(name, found[name]) for name, _ in PRICES if found[name] is not None]


def tiers(entry: dict, service: str = "") -> list[str]:
    """The prices of long prompts."""
    found = {}
    for key in entry:
        if key.startswith("input_cost_per_token_above_") and key.endswith("k_tokens" + service):
            threshold = int(key.removeprefix("input_cost_per_token_above_").removesuffix("k_tokens" + service)) * 1000
            found[threshold] = prices(entry, key.removeprefix("input_cost_per_token"))
    if service:
        return [table([("tokens", str(tokens)), *found[tokens]]) for tokens in sorted(found)]
    for tier in entry.get("tiered_pricing") or []:
        if "range" in tier and int(tier["range"][0]) > 0:
            found[int(tier["range"][0])] = prices(tier)
    return [table([("tokens", str(tokens)), *found[tokens]]) for tokens in sorted(found)]


def table(pairs: list[tuple[str, str]]) -> str:
    return "{ " + ", ".join(f"{name} = {value}" for name, value in pairs) + " }"


def words(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def line(kind: str, entry: dict) -> str | None:
    """What stands after the id; None where the list has no price for it."""
    pairs = [] if kind == "chat" else [("kind", f'"{kind}"')]
    first = next((tier for tier in entry.get("tiered_pricing") or [] if int(tier.get("range", [1])[0]) == 0), {})
    money = prices({**entry, **{key: value for key, value in first.items() if key != "range"}})
    if entry.get("input_cost_per_character") and kind == "speech":
        money.append(("characters", per_million(entry["input_cost_per_character"])))
    second = entry.get("output_cost_per_second" if kind == "speech" else "input_cost_per_second")
    if second and kind in ("speech", "transcription"):
        money.append(("hour", number(Decimal(second) * 3600)))
    if not money:
        return None
    # Only Perplexity's price depends on the size, and low is its default.
    search = (entry.get("search_context_cost_per_query") or {}).get("search_context_size_low")
    if search:
        money.append(("search", number(Decimal(search) * 1000)))
    pairs += money
    if above := tiers(entry):
        pairs.append(("above", "[" + ", ".join(above) + "]"))
    for name, suffix in SERVICES:
        if service := prices(entry, suffix):
            if above := tiers(entry, suffix):
                service.append(("above", "[" + ", ".join(above) + "]"))
            pairs.append((name, table(service)))
    for name, key in [("context", "max_input_tokens"), ("max_output", "max_output_tokens")]:
        if entry.get(key):
            pairs.append((name, str(int(entry[key]))))
    said_in, said_out = entry.get("supported_modalities") or [], entry.get("supported_output_modalities") or []
    takes = [name for name, keys, said in TAKES if any(entry.get(key) for key in keys) or said in said_in]
    gives = [name for name, keys, said in GIVES if any(entry.get(key) for key in keys) or said in said_out]
    can = [name for name, keys in CAN if any(entry.get(key) for key in keys)]
    pairs += [(name, words(value)) for name, value in [("takes", takes), ("gives", gives), ("can", can)] if value]
    return table(pairs)


def catalogue(text: bytes) -> str:
    digest = hashlib.sha256(text).hexdigest()
    if digest != LIST_SHA256:
        sys.exit(f"the list's SHA-256 is {digest}, not {LIST_SHA256}; it is another list than the pinned one")
    models = {}
    # A key with its provider in front says more than one without, so those come first and stay.
    for key, entry in sorted(json.loads(text, parse_float=Decimal).items(), key=lambda item: ("/" not in item[0], item[0])):
        provider, kind = provider_of(entry.get("litellm_provider", "")), KINDS.get(entry.get("mode"))
        if provider is None or kind is None or "commitment" in key:
            continue
        said = line(kind, entry)
        if said is not None:
            models.setdefault(f"{provider}/{name_of(key)}", said)
    lines = [f'"{name}" = {models[name]}' for name in sorted(models, key=str.encode)]
    return HEADER + "\n" + "\n".join(lines) + "\n"


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    text = Path(arguments[0]).read_bytes() if arguments else fetched()
    made = catalogue(text)
    if "--check" not in sys.argv:
        TARGET.write_text(made)
    elif TARGET.read_text() != made:
        sys.exit("models.toml is not what make.py writes from the pinned list; run it without --check")


if __name__ == "__main__":
    main()
