"""The catalog's tables, and the steps that lead to them from each earlier version.

Job: definitions. Limits: what is said in SQLite's own words stands in
:mod:`archiver.catalog.sqlite`. A step that was released is never changed.

Times are whole seconds since 1970, 0 for never; a place is a replica's name, "" for the
vault itself. Digests of files stay in the manifests: there are a thousand times as many.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table, Text

__all__ = ["BAGS", "CASES", "CHECKS", "INCIDENTS", "METADATA", "MIGRATIONS", "REPLICAS", "VERSION"]

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
MIGRATIONS = tuple(
    tuple(one.strip() for one in script.split(";")) for script in (_FIRST, _INCIDENTS_ARE_TOLD_ONCE)
)
"""Step n leads from version n to n + 1."""
VERSION = len(MIGRATIONS)
