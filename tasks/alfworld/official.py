"""Content of the official set: number of games and fingerprint of each split (see ``data.fingerprint``)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SplitContent:
    """Number of games in a split and the SHA-256 of their content."""

    games: int
    fingerprint: str


OFFICIAL = {
    "train": SplitContent(3553, "50006e5bbc38a3cae60a125edf06a0f12d84b1a7c8db95c56b6c78219362b042"),
    "valid_seen": SplitContent(140, "d772288d58c5d7bd3a13250ee707089c8f13ca583a36085d7fa99f9e505fbae7"),
    "valid_unseen": SplitContent(134, "0f921b85b1c194a6881bee89f38217b770fe7c4de019da59be8310f2a1658605"),
}
