"""The catalog's tables, and the steps that lead to them from each earlier version.

Job: definitions. Limits: what is said in SQLite's own words stands in
:mod:`archiver.catalog.sqlite`. A step that was released is never changed.

Times are whole seconds since 1970, 0 for never; a place is a replica's name, "" for the
vault itself. Digests of files stay in the manifests: there are a thousand times as many.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table, Text

__all__ = [
    "AMENDMENTS",
    "BAGS",
    "CASES",
    "CHECKS",
    "DESCRIPTIONS",
    "INCIDENTS",
    "METADATA",
    "MIGRATIONS",
    "REPLICAS",
    "VERSION",
    "WITHDRAWALS",
]

METADATA = MetaData()

VERSIONS = Table(
    "versions",
    METADATA,
    Column("version", Integer, primary_key=True),
)
CASES = Table(
    "cases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("lines", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("tail", Integer, nullable=False),
    Column("head", Text, nullable=False),
)
BAGS = Table(
    "bags",
    METADATA,
    Column("item", Text, primary_key=True),
    Column("case_name", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("source_key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Integer, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("files", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Index("bags_in_order", "case_name", "number", unique=True),
    Index("bags_by_source", "source_key"),
)
REPLICAS = Table(
    "replicas",
    METADATA,
    Column("item", Text, ForeignKey("bags.item"), primary_key=True),
    Column("place", Text, primary_key=True),
    Column("case_name", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("checked_at", Integer, nullable=False),
    Column("result", Text, nullable=False),
    Index("replicas_due", "place", "checked_at", "case_name", "number"),
)
CHECKS = Table(
    "checks",
    METADATA,
    Column("case_name", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("item", Text, ForeignKey("bags.item"), nullable=False),
    Column("place", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("checked_at", Integer, nullable=False),
    Column("result", Text, nullable=False),
    Column("codes", Text, nullable=False),
    Index("checks_of_item", "item"),
)
INCIDENTS = Table(
    "incidents",
    METADATA,
    Column("case_name", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("item", Text, ForeignKey("bags.item"), nullable=False),
    Column("place", Text, nullable=False),
    Column("opened_at", Integer, nullable=False),
    Column("result", Text, nullable=False),
    Column("codes", Text, nullable=False),
    Column("closed_at", Integer, nullable=False),
    Column("explained", Integer, nullable=False),
    Column("told_at", Integer, nullable=False, server_default="0"),
    Index("incidents_open", "closed_at", "item", "place"),
)
DESCRIPTIONS = Table(
    "descriptions",
    METADATA,
    Column("item", Text, ForeignKey("bags.item"), primary_key=True),
    Column("case_name", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("secret", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("amendments", Integer, nullable=False),
    Column("last_sha256", Text, nullable=False),
    Index("descriptions_in_order", "case_name", "seq"),
    Index("descriptions_by_kind", "kind", "item"),
)
"""How an item is described, by digests: no word of a description stands here. ``seq`` is the
line of the log that changed it last."""
AMENDMENTS = Table(
    "amendments",
    METADATA,
    Column("item", Text, ForeignKey("bags.item"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("case_name", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", Integer, nullable=False),
    Column("secret", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Index("amendments_in_order", "case_name", "seq"),
)
WITHDRAWALS = Table(
    "withdrawals",
    METADATA,
    Column("case_name", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("item", Text, ForeignKey("bags.item"), nullable=False),
    Column("at", Integer, nullable=False),
    Column("scope", Text, nullable=False),
    Index("withdrawals_of_item", "item"),
)

_FIRST = """
CREATE TABLE cases (
    name TEXT NOT NULL PRIMARY KEY, lines INTEGER NOT NULL, size INTEGER NOT NULL,
    tail INTEGER NOT NULL, head TEXT NOT NULL);
CREATE TABLE bags (
    item TEXT NOT NULL PRIMARY KEY, case_name TEXT NOT NULL, number INTEGER NOT NULL,
    source_key TEXT NOT NULL, state TEXT NOT NULL, since INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, files INTEGER NOT NULL, detail TEXT NOT NULL);
CREATE UNIQUE INDEX bags_in_order ON bags (case_name, number);
CREATE INDEX bags_by_source ON bags (source_key);
CREATE TABLE replicas (
    item TEXT NOT NULL REFERENCES bags (item), place TEXT NOT NULL, case_name TEXT NOT NULL,
    number INTEGER NOT NULL, checked_at INTEGER NOT NULL, result TEXT NOT NULL,
    PRIMARY KEY (item, place));
CREATE INDEX replicas_due ON replicas (place, checked_at, case_name, number);
CREATE TABLE checks (
    case_name TEXT NOT NULL, seq INTEGER NOT NULL, item TEXT NOT NULL REFERENCES bags (item),
    place TEXT NOT NULL, kind TEXT NOT NULL, checked_at INTEGER NOT NULL,
    result TEXT NOT NULL, codes TEXT NOT NULL, PRIMARY KEY (case_name, seq));
CREATE INDEX checks_of_item ON checks (item);
CREATE TABLE incidents (
    case_name TEXT NOT NULL, seq INTEGER NOT NULL, item TEXT NOT NULL REFERENCES bags (item),
    place TEXT NOT NULL, opened_at INTEGER NOT NULL, result TEXT NOT NULL, codes TEXT NOT NULL,
    closed_at INTEGER NOT NULL, explained INTEGER NOT NULL, PRIMARY KEY (case_name, seq));
CREATE INDEX incidents_open ON incidents (closed_at, item, place)
"""
_INCIDENTS_ARE_TOLD_ONCE = """
ALTER TABLE incidents ADD COLUMN told_at INTEGER NOT NULL DEFAULT 0
"""
_ITEMS_ARE_DESCRIBED = """
CREATE TABLE descriptions (
    item TEXT NOT NULL PRIMARY KEY REFERENCES bags (item), case_name TEXT NOT NULL,
    seq INTEGER NOT NULL, kind TEXT NOT NULL, secret INTEGER NOT NULL, code TEXT NOT NULL,
    sha256 TEXT NOT NULL, amendments INTEGER NOT NULL, last_sha256 TEXT NOT NULL);
CREATE INDEX descriptions_in_order ON descriptions (case_name, seq);
CREATE INDEX descriptions_by_kind ON descriptions (kind, item);
CREATE TABLE amendments (
    item TEXT NOT NULL REFERENCES bags (item), number INTEGER NOT NULL,
    case_name TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
    secret INTEGER NOT NULL, sha256 TEXT NOT NULL, signature TEXT NOT NULL,
    PRIMARY KEY (item, number));
CREATE INDEX amendments_in_order ON amendments (case_name, seq);
CREATE TABLE withdrawals (
    case_name TEXT NOT NULL, seq INTEGER NOT NULL, item TEXT NOT NULL REFERENCES bags (item),
    at INTEGER NOT NULL, scope TEXT NOT NULL, PRIMARY KEY (case_name, seq));
CREATE INDEX withdrawals_of_item ON withdrawals (item)
"""
MIGRATIONS = tuple(
    tuple(one.strip() for one in script.split(";"))
    for script in (_FIRST, _INCIDENTS_ARE_TOLD_ONCE, _ITEMS_ARE_DESCRIBED)
)
"""Step n leads from version n to n + 1."""
VERSION = len(MIGRATIONS)
