"""Every mistake in a setting is one sentence that names the variable, without the value."""

import re
from datetime import datetime
from typing import Annotated, Any, Self

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from upstreams import Count, ServiceSettings, UpstreamSettings
from upstreams._mistakes import sentence


def refuse(value: str) -> str:
    """Refuse a value, as a validator of a service does."""
    if value:
        message = f"must be another one{'.' if value == 'with a full stop' else ''}"
        raise ValueError(message)
    return value


def refuse_with_an_assertion(value: str) -> str:
    """Refuse a value with an `AssertionError`, as other validators do."""
    if value != "another":
        message = "must be another one"
        raise AssertionError(message)
    return value


class Pair(UpstreamSettings):
    """A group of which two parts do not go together."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.hedge and not self.max_retries:
            message = "must have retries where it has hedges"
            raise ValueError(message)
        return self


class Odd(ServiceSettings):
    """Settings of unusual types."""

    described: Count = Field(default=1, description="a number")
    bare: Count = 1
    names: list[Annotated[str, Field(min_length=3)]] = Field(default=[], description="some names")
    either: int | bool = Field(default=1, description="a number or a word")
    short: Annotated[str, StringConstraints(max_length=3)] = "a"
    since: Annotated[datetime, Field(strict=False)] | None = None
    other: Annotated[str, AfterValidator(refuse)] = Field(default="", description="another")
    asserted: Annotated[str, AfterValidator(refuse_with_an_assertion)] = "another"
    pair: Pair = Pair()

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.described > 5 and self.bare > 5:
            message = "DESCRIBED and BARE must not both be large"
            raise ValueError(message)
        return self


class Needy(ServiceSettings):
    """Settings without defaults."""

    key: str = Field(description="what opens the till")
    orders: UpstreamSettings


def said(model: type[BaseModel], values: dict[str, Any]) -> list[str]:
    """Return a sentence for each mistake."""
    with pytest.raises(ValidationError) as error:
        model(**values)
    return [sentence(mistake, model) for mistake in error.value.errors()]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"described": "0"}, "DESCRIBED should be greater than or equal to 1 (a number)."),
        ({"bare": "0"}, "BARE should be greater than or equal to 1."),
        ({"names": ["ab"]}, "NAMES should have at least 3 characters (some names)."),
        ({"names": "ab"}, "NAMES should be a valid list (some names)."),
        ({"short": "abcd"}, "SHORT should have at most 3 characters."),
        ({"other": "x"}, "OTHER must be another one (another)."),
        ({"other": "with a full stop"}, "OTHER must be another one (another)."),
        ({"asserted": "x"}, "ASSERTED must be another one."),
        ({"pair": {"hedge": True, "max_retries": 0}}, "PAIR must have retries where it has "),
        ({"pair": "x"}, "PAIR must be set by its parts, such as PAIR__BASE_URL."),
        ({"pair": {"max_retries": "-1"}}, "PAIR__MAX_RETRIES should be greater than or equal to 0"),
        ({"pair": {"base_url": "ftp://a"}}, "PAIR__BASE_URL URL scheme should be 'http' or "),
        ({"describde": "1"}, "DESCRIBDE is not a setting of this service; did you mean DESCRIBED?"),
        ({"pair": {"x": "1"}}, "PAIR__X is not a setting of this service."),
        ({"described": 6, "bare": 6}, "DESCRIBED and BARE must not both be large."),
    ],
)
def test_a_mistake_is_one_sentence_about_its_variable(
    values: dict[str, Any], expected: str
) -> None:
    [sentence] = said(Odd, values)

    assert sentence.startswith(expected)


def test_a_value_that_fits_no_type_of_a_union_has_a_sentence_for_each_type() -> None:
    assert [each.split()[0] for each in said(Odd, {"either": "maybe"})] == ["EITHER", "EITHER"]


def test_a_missing_setting_is_named() -> None:
    assert said(Needy, {}) == [
        "KEY must be set (what opens the till).",
        "ORDERS must be set by its parts, such as ORDERS__BASE_URL.",
    ]


@given(
    st.dictionaries(
        st.sampled_from([*Odd.model_fields, "prot", "bar", "names_"]),
        st.one_of(
            st.just("s3cret"),
            st.lists(st.just("s3cret"), max_size=2),
            st.dictionaries(st.sampled_from([*Pair.model_fields, "x"]), st.just("s3cret")),
        ),
        min_size=1,
    )
)
@example({"names": {}, "pair": {"base_url": "//s3cret@host", "hedge": "s3cret"}})
def test_no_sentence_has_the_wrong_value(values: dict[str, Any]) -> None:
    try:
        Odd(**values)
    except ValidationError as error:
        sentences = [sentence(mistake, Odd) for mistake in error.errors()]
    else:
        return
    for each in sentences:
        assert re.fullmatch(r"[A-Z][A-Z_]* [a-zU].*[.?]", each), each
        assert not each.endswith("..")
        assert "s3cret" not in each
