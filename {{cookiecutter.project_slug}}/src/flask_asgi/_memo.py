"""What was found for keys that clients choose, so that nobody can fill the memory with them."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V], Generic[K, V]):
    """A mapping that `keep` bounds in number and in size.

    Args:
        most: how many keys are kept; with one more, all of them are forgotten.
        longest: the length in characters or bytes above which a key is not kept. A key that is a
            tuple is as long as its parts together.
    """

    def __init__(self, *, most: int, longest: int) -> None:
        super().__init__()
        self.most = most
        self.longest = longest

    def keep(self, key: K, value: V) -> V:
        """Return `value`, and remember it for `key` if there is room."""
        if _length(key) <= self.longest:
            if len(self) >= self.most:
                self.clear()
            self[key] = value
        return value


def _length(key: object) -> int:
    if isinstance(key, tuple):
        return sum(map(_length, key))
    return len(key) if isinstance(key, str | bytes) else 0
