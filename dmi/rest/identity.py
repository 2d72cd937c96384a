"""Who asks: a name, what it may do, and where."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["LOCAL", "Identity", "Scope"]


class Scope(StrEnum):
    """What may be done. Who may administer may write, and who may write may read."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_IMPLIED = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.WRITE: frozenset({Scope.READ, Scope.WRITE}),
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """One client.

    Attributes:
        name: For the audit trail and for people.
        scopes: What it was given; what they imply is understood.
        namespaces: Where it may do that; None means everywhere.
    """

    name: str
    scopes: frozenset[Scope] = field(default=frozenset(Scope))
    namespaces: frozenset[str] | None = None

    def may(self, scope: Scope) -> bool:
        """Whether it may do this, somewhere."""
        return any(scope in _IMPLIED[given] for given in self.scopes)

    def may_in(self, namespace: str | None) -> bool:
        """Whether it may do anything there; None means everywhere, empty nowhere in particular."""
        return self.namespaces is None or namespace == "" or namespace in self.namespaces


LOCAL = Identity("local")
"""Whoever reaches an API that listens on this machine only and wants no token."""
