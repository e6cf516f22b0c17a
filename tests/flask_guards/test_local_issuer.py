"""The issuer for development makes tokens that only the same audience accepts."""

import asyncio

import pytest
from click.testing import CliRunner
from flask_guards import (
    LOCAL_ISSUER,
    IssuerKeys,
    LocalIssuer,
    TokenError,
    TokenVerifier,
    token_command,
)

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


async def test_a_token_expires() -> None:
    with pytest.raises(TokenError, match="expired"):
        await verifier("quotes").verify(LocalIssuer("quotes").token(lasts=-60))


def test_the_command_prints_a_token_with_its_scopes_and_subject() -> None:
    command = token_command(LOCAL_ISSUER, "quotes")
    arguments = ["--scope", "quotes:read", "--scope", "quotes:write", "--subject", "me"]
    printed = CliRunner().invoke(command, arguments)
    found = asyncio.run(verifier("quotes").verify(printed.output.strip()))

    assert found.subject == "me"
    assert found.scopes == {"quotes:read", "quotes:write"}


def test_the_command_makes_no_token_of_another_issuer() -> None:
    printed = CliRunner().invoke(token_command("https://login.example.com", "quotes"), [])

    assert printed.exit_code == 1
    assert printed.output == (
        "Error: This service accepts the tokens of https://login.example.com only; "
        "ask that issuer for one.\n"
    )
