"""Files that people write: strict YAML with a line for every key, and JSON Schemas whose faults read like advice."""

from reconciler.document.plain import DEPTH_LIMIT, SIZE_LIMIT_BYTES, Document, KeyPath, is_plain_text, read_document
from reconciler.document.schema import Objection, Schema, schema_names, schema_text
from reconciler.document.wording import show, suggest

__all__ = [
    "DEPTH_LIMIT",
    "SIZE_LIMIT_BYTES",
    "Document",
    "KeyPath",
    "Objection",
    "Schema",
    "is_plain_text",
    "read_document",
    "schema_names",
    "schema_text",
    "show",
    "suggest",
]
