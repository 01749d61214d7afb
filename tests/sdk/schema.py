"""OpenAI's published schemas as judges: TIMBRE_OPENAPI names their file (openapi.json), else it is looked for beside the project."""

import copy
import functools
import json
import os
import pathlib

import jsonschema
import pytest

HERE = pathlib.Path(__file__).resolve()
FILE = pathlib.Path(os.environ.get("TIMBRE_OPENAPI") or HERE.parents[2].parent / "shared" / "openapi.json")
needed = pytest.mark.skipif(not FILE.exists(), reason=f"no schemas: TIMBRE_OPENAPI names no file, and {FILE} is missing")


def plain(schema):
    """A schema as JSON Schema has it: `nullable` is of an older dialect, and `discriminator` only helps generators."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: plain(value) for key, value in schema.items() if key not in ("discriminator", "example", "examples")}
    if schema.pop("nullable", False) is True:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


@functools.cache
def document():
    # A property may be called `example` or `nullable`: those of the answers judged here are not.
    schemas = json.loads(FILE.read_text())["components"]["schemas"]
    return {"components": {"schemas": plain(schemas)}}


@functools.cache
def validator(name):
    schema = copy.copy(document())
    schema["$ref"] = f"#/components/schemas/{name}"
    return jsonschema.Draft202012Validator(schema)


def judge(name, value):
    """Fails with the place and the rule that `value` breaks."""
    errors = sorted(validator(name).iter_errors(value), key=lambda error: len(error.absolute_path))
    if errors:
        error = jsonschema.exceptions.best_match(errors)
        place = "/".join(str(step) for step in error.absolute_path)
        raise AssertionError(f"{name} at {place or 'the top'}: {error.message[:400]}\n{json.dumps(value)[:1000]}")


@functools.cache
def realtime_event(kind):
    """The name of the schema of a realtime server event."""
    for name, schema in document()["components"]["schemas"].items():
        kinds = schema.get("properties", {}).get("type", {})
        if name.startswith("RealtimeServerEvent") and (kinds.get("const") == kind or kind in kinds.get("enum", [])):
            return name
    raise AssertionError(f"no schema for the event {kind}")


def judge_realtime(event):
    """The same for a realtime event; those of our own are no business of OpenAI's."""
    if FILE.exists() and not event["type"].startswith("timbre."):
        judge(realtime_event(event["type"]), without_null(event))


def without_null(value):
    """OpenAI's servers send null for what is not set, where its schemas leave it out."""
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value
