"""The issuer for development makes tokens that only the same audience accepts."""

import pytest
from flask_guards import LOCAL_ISSUER, IssuerKeys, LocalIssuer, TokenError, TokenVerifier

pytestmark = pytest.mark.anyio


def verifier(audience: str) -> TokenVerifier:
    keys = IssuerKeys(LocalIssuer(audience).fetch)
    return TokenVerifier(keys, issuer=LOCAL_ISSUER, audience=audience)


async def test_a_token_is_accepted_by_another_process_with_the_same_audience() -> None:
    token = LocalIssuer("quotes").token("me", scopes=["quotes:read", "quotes:write"])
    found = await verifier("quotes").verify(token)

    assert found.subject == "me"
    assert found.scopes == {"quotes:read", "quotes:write"}


async def test_a_token_for_another_audience_is_refused() -> None:
    with pytest.raises(TokenError):
        await verifier("quotes").verify(LocalIssuer("orders").token())


async def test_a_token_ends() -> None:
    with pytest.raises(TokenError, match="expired"):
        await verifier("quotes").verify(LocalIssuer("quotes").token(lasts=-60))
