"""The work of the view `/report` of every service: an order of 2 KB becomes an answer of 10 KB."""

from decimal import Decimal
from typing import Any

WORDS = "Ships from the warehouse within two working days, and may be returned within thirty days."


def report(order: dict[str, Any]) -> dict[str, Any]:
    """The lines of an order with their amounts, and the total."""
    lines, total = [], Decimal()
    for number, line in enumerate(order["lines"], start=1):
        amount = Decimal(line["price"]) * line["count"]
        total += amount
        lines.append(
            {
                "number": number,
                "sku": line["sku"],
                "count": line["count"],
                "price": line["price"],
                "amount": f"{amount:f}",
                "in_stock": number % 7 > 0,
                "weight_grams": 12.5 * number,
                "delivery": WORDS,
            }
        )
    return {"lines": lines, "total": f"{total:f}", "currency": "EUR"}
