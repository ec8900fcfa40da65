"""What stands in the ledger: bookings, what happened to a customer, how each experiment stands."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """A step of the history: customers assigned, released or forgotten, or a plan amended. Its number is the order."""

    booking: int = 0
    kind: Literal["assigned", "released", "amended", "forgotten"]
    at: date  # the day that counts: of assignment, of release
    booked_at: datetime  # when it was written; UTC, without a zone
    customers: int
    experiment: str | None = None
    seed: int | None = None
    plan_hash: str | None = None
    holdout: str | None = None  # the arm that nobody may contact
    reason: str | None = None
    by: str = ""
    digest: str = ""  # of its events
    chain: str = ""  # sha256 of this booking and of the chain before it
    new: bool = True  # False: it stood there already

    def chained(self, before: str) -> str:
        """Return the sha256 that binds this booking to all before it."""
        told = {name: value for name, value in asdict(self).items() if name not in ("chain", "new")}
        return hashlib.sha256(f"{before}{json.dumps(told, sort_keys=True, default=str)}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to one customer."""

    booking: int
    step: int
    kind: Literal["assigned", "released"]
    at: date
    booked_at: datetime
    experiment: str
    arm: str
    stratum: str
    bucket: int
    reason: str | None
    by: str

    def __str__(self) -> str:
        by = f", by {self.by}" if self.by else ""
        if self.kind == "released":
            return f"{self.at}: released from {self.experiment}{by}: {self.reason}"
        place = f"arm {self.arm!r}, stratum {self.stratum!r}, bucket {self.bucket}"
        return f"{self.at}: assigned to {self.experiment}, {place}{by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An experiment in the ledger: its booking, customers by arm, and how many of them were released."""

    booking: Booking
    arms: tuple[tuple[str, int], ...]
    released: int

    @property
    def open(self) -> int:
        """Customers whose chance stands."""
        return self.booking.customers - self.released

    def __str__(self) -> str:
        arms = ", ".join(f"{arm} {customers:,}" for arm, customers in self.arms)
        booked = f"{self.booking.experiment}: {self.booking.customers:,} customers assigned on {self.booking.at}"
        return f"{booked} ({arms}); {self.released:,} released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What became of customers to release."""

    asked: int
    released: int
    booking: Booking | None  # None: there was nothing to do

    def __str__(self) -> str:
        free = self.asked - self.released
        return f"released {self.released:,} of {self.asked:,} customers" + (f"; {free:,} were free" if free else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutContacts:
    """Contacts of customers who were held out at the time; the rows are the table `holdout_contacts`."""

    checked: int
    contacts: int
    experiments: tuple[tuple[str, int], ...]  # contacts by the experiment they spoil
    example: str | None

    def __str__(self) -> str:
        if not self.contacts:
            return f"none of {self.checked:,} contacts is with a holdout customer"
        spoiled = ", ".join(f"{name} ({number:,})" for name, number in self.experiments)
        return (f"{self.contacts:,} of {self.checked:,} contacts are with holdout customers of {spoiled}, such as "
                f"{self.example!r}")  # fmt: skip
