"""A cache for keys that clients choose, bounded so that they cannot fill the memory."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V], Generic[K, V]):
    """A mapping whose number of keys and length of keys `keep` limits.

    Args:
        most: the largest number of keys. A further key clears the mapping.
        longest: the largest length of a key, in characters or bytes. A longer key is not kept. The
            length of a tuple is the sum of the lengths of its items.
    """

    def __init__(self, *, most: int, longest: int) -> None:
        super().__init__()
        self.most = most
        self.longest = longest

    def keep(self, key: K, value: V) -> V:
        """Return `value`, and keep it for `key` unless the key is too long."""
        if _length(key) <= self.longest:
            if len(self) >= self.most:
                self.clear()
            self[key] = value
        return value


def _length(key: object) -> int:
    if isinstance(key, tuple):
        return sum(map(_length, key))
    return len(key) if isinstance(key, str | bytes) else 0
