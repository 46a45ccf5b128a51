"""Tables of the `app` database; intake/migrations/ makes them so."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of our tables."""

    metadata = MetaData()
    type_annotation_map = {  # noqa: RUF012 - as SQLAlchemy declares it
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: JSONB,
    }


class Applicant(Base):
    """Whom decisions are about."""

    __tablename__ = "applicants"

    entity_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: The attributes, without the label.
    record: Mapped[dict[str, Any]]
    #: The label: what became of the credit. Training alone may see it.
    creditability: Mapped[str]


class LedgerRow(Base):
    """The record: one row per event id, for ever."""

    __tablename__ = "ledger"
    __table_args__ = (Index("ledger_decided_at", "decided_at", "event_id"),)

    event_id: Mapped[str] = mapped_column(primary_key=True)
    entity_id: Mapped[str]
    decision: Mapped[str]
    #: Probability of default; NULL when there is none.
    score: Mapped[float | None]
    reasons: Mapped[list[str]]
    model_version: Mapped[str | None]
    signed_up_at: Mapped[datetime]
    decided_at: Mapped[datetime]
    run_id: Mapped[str]
    #: The event as the run got it, for a replay of an error; NULL when its writer had none.
    event: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


class OutboxRow(Base):
    """What the stream `decisions` holds or is to hold; the relay removes rows by age.

    States: `position` NULL = new; set = has its place in the stream; `published_at` set = is there.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "outbox_unpublished",
            "position",
            "id",
            postgresql_where=text("published_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[str] = mapped_column(ForeignKey("ledger.event_id"), unique=True)
    #: Place in the stream, given by the relay to committed rows only: rises without exception.
    position: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    published_at: Mapped[datetime | None]


class _Version:
    """A version of something that all hosts share; rows are never changed."""

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Its description: metrics, what it was made from, references of the packs.
    info: Mapped[dict[str, Any]]
    #: Of the content, in hexadecimal.
    sha256: Mapped[str]
    #: Its file, as `dags.packs.model_kinds` writes it.
    content: Mapped[bytes]
    stored_at: Mapped[datetime]


class _Promotion:
    """A version that was put to use; the newest row names the one that is. Rows are only added.

    `action`: `promote` = put on top of what was in use; `rollback` = taken off again, so `number`
    is the one below it.
    """

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    promoted_at: Mapped[datetime]
    action: Mapped[str]
    #: A person's login and host, or a DAG's run; empty from releases that did not note it.
    promoted_by: Mapped[str]
    reason: Mapped[str]


class ModelRow(_Version, Base):
    """A version of the risk model, `risk-NUMBER`."""

    __tablename__ = "models"


class ModelPromotion(_Promotion, Base):
    """A risk model that was put to use."""

    __tablename__ = "model_promotions"

    number: Mapped[int] = mapped_column(ForeignKey("models.number"))


class DistributionsRow(_Version, Base):
    """A version of fraud's distributions, `fraud-NUMBER`."""

    __tablename__ = "fraud_distributions"


class DistributionsPromotion(_Promotion, Base):
    """Distributions that were put to use."""

    __tablename__ = "fraud_promotions"

    number: Mapped[int] = mapped_column(ForeignKey("fraud_distributions.number"))


class DecisionInputs(Base):
    """What a decision was made from, to make it again; written with its ledger row.

    A table of its own: whoever lists or publishes decisions has no business with the records.
    """

    __tablename__ = "decision_inputs"

    event_id: Mapped[str] = mapped_column(ForeignKey("ledger.event_id"), primary_key=True)
    #: The applicant's record as the packs read it.
    record: Mapped[dict[str, Any]]
    #: Kind -> name and SHA-256 of the version that was used (`dags.packs.decision.Versions`).
    versions: Mapped[dict[str, Any]]
    #: Of airlane, of the packs' sources, of scikit-learn.
    release: Mapped[str]
    packs_sha256: Mapped[str]
    scikit_learn: Mapped[str]
