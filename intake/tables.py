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


class ModelRow(Base):
    """A version of the risk model, `risk-NUMBER`; never changed."""

    __tablename__ = "models"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Its description: metrics, references of the packs.
    info: Mapped[dict[str, Any]]
    #: Of the content, in hexadecimal.
    sha256: Mapped[str]
    #: The .joblib file.
    content: Mapped[bytes]
    stored_at: Mapped[datetime]


class ModelPromotion(Base):
    """A version that was put to use; the newest row names the one that is."""

    __tablename__ = "model_promotions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    number: Mapped[int] = mapped_column(ForeignKey("models.number"))
    promoted_at: Mapped[datetime]
