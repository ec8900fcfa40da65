"""Who contacts whom on which day: as many as there is room for, and who stands before others gets in before them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

Slot = tuple[int, int]  # day, caller; both are places


@dataclass(frozen=True, slots=True)
class Window:
    """What is open to a customer: these callers, from the first day to the last, both included."""

    callers: tuple[int, ...]
    first: int
    last: int


def seat(order: Sequence[int], windows: Sequence[Window], *, capacity: Sequence[int], days: int) -> list[Slot | None]:
    """Give customers, in their order, a day and a caller; None where there is no room.

    `order`: the window of every customer; `capacity`: contacts a day of each caller. A customer without room makes
    others move within their windows, if that makes room; nobody who has a slot loses it. So among the first n of the
    order as many are seated as can be, for every n: greedy is best on a transversal matroid (Edmonds and Fulkerson,
    Journal of Research of the National Bureau of Standards 69B, 1965).

    >>> seat([0, 1], [Window((0, 1), 0, 0), Window((0,), 0, 0)], capacity=[1, 1], days=1)
    [(0, 1), (0, 0)]
    """
    book = _Book(windows, capacity=capacity, days=days, wanted=Counter(order))
    seated = [book.take(window) for window in order]
    slots = {window: book.slots(window) for window in set(order)}
    return [next(slots[window]) if taken else None for window, taken in zip(order, seated, strict=True)]


class _Book:
    """Which slots are taken, by how many customers of which window."""

    def __init__(self, windows: Sequence[Window], *, capacity: Sequence[int], days: int, wanted: Counter[int]) -> None:
        self._windows = windows
        self._free = [[room] * days for room in capacity]
        self._next = [list(range(days + 1)) for _ in capacity]  # the next day that may have room
        self._held: dict[Slot, Counter[int]] = defaultdict(Counter)
        self._full: set[int] = set()  # windows that will never have room again
        self._pressure = _pressure(windows, capacity, wanted)

    def take(self, window: int) -> bool:
        """Seat one more customer of a window; False: there is no room, whoever moves."""
        if window in self._full:
            return False
        slot = self._room(window) or self._made(window)
        if slot is None:
            return False
        self._held[slot][window] += 1
        return True

    def slots(self, window: int) -> Iterator[Slot]:
        """Return the slots of a window's customers by day; within a day the callers take turns."""
        taken = [(day, turn, caller) for (day, caller), held in self._held.items() for turn in range(held[window])]
        return iter([(day, caller) for day, _, caller in sorted(taken)])

    def _room(self, window: int) -> Slot | None:
        """Take room on the earliest day: of the caller who is wanted least, then of the one with most room."""
        about = self._windows[window]
        open_days = ((self._first_open(caller, about.first), caller) for caller in about.callers)
        found = [
            (day, self._pressure[caller], -self._free[caller][day], caller)
            for day, caller in open_days
            if day <= about.last
        ]
        if not found:
            return None
        day, _, _, caller = min(found)
        self._free[caller][day] -= 1
        return day, caller

    def _first_open(self, caller: int, day: int) -> int:
        """Return the first day from `day` on with room; paths are halved on the way, so that many looks stay cheap."""
        follow, free = self._next[caller], self._free[caller]
        while day < len(free) and not free[day]:
            follow[day] = max(follow[day], day + 1)
            follow[day] = day = max(follow[day], follow[follow[day]])
        return day

    def _made(self, window: int) -> Slot | None:
        """Make room by moving others, each within its window; return the slot that came free."""
        start = list(self._open_to(window))
        came: dict[Slot, tuple[Slot, int] | None] = dict.fromkeys(start)
        seen = {window}
        for slot in start:  # grows while it is walked
            for other in [held for held, number in self._held[slot].items() if number and held not in seen]:
                seen.add(other)
                room = self._room(other)
                if room is not None:
                    return self._moved(slot, other, room, came)
                for further in self._open_to(other):
                    if further not in came:
                        came[further] = (slot, other)
                        start.append(further)
        self._full |= seen  # all that these windows can reach is taken, by each other, for ever
        return None

    def _moved(self, slot: Slot, window: int, room: Slot, came: dict[Slot, tuple[Slot, int] | None]) -> Slot:
        """Move one customer along every step of the way; return the slot at its beginning."""
        step: tuple[Slot, int] | None = (slot, window)
        while step is not None:
            slot, window = step
            self._held[slot][window] -= 1
            self._held[room][window] += 1
            room, step = slot, came[slot]
        return room

    def _open_to(self, window: int) -> Iterator[Slot]:
        about = self._windows[window]
        return product(range(about.first, about.last + 1), about.callers)


def _pressure(windows: Sequence[Window], capacity: Sequence[int], wanted: Counter[int]) -> list[float]:
    """Return how many customers want each caller, for a contact a day, where each window asks all its callers alike."""
    asked = [0.0] * len(capacity)
    for window, customers in wanted.items():
        callers = windows[window].callers
        for caller in callers:
            asked[caller] += customers / sum(capacity[one] for one in callers)
    return asked
