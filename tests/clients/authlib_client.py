"""Authlib: tokens, refresh, introspection, revocation, and nothing after it; with a secret and with a key."""

import json
import os
import time

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from person import person

BASE = os.environ["FHIR_BASE"]
SCOPE = "openid fhirUser launch/patient offline_access patient/Patient.rs"
where = requests.get(f"{BASE}/.well-known/smart-configuration", timeout=60).json()
assert "sso-openid-connect" in where["capabilities"]
keys = KeySet.import_key_set(requests.get(where["jwks_uri"], timeout=60).json())
own = json.load(open(os.environ["KEYS"]))["RS384"]["secret"]
own = RSAKey.import_key(own).as_pem(private=True)


class Brief(PrivateKeyJWT):
    """SMART allows five minutes at most; by itself it says an hour."""

    def sign(self, auth, token_endpoint):
        self.claims = {"exp": int(time.time()) + 240}
        return super().sign(auth, token_endpoint)


proof = Brief(where["token_endpoint"], headers={"kid": "key-rs384"}, alg="RS384")


def session(**more):
    return OAuth2Session(scope=SCOPE, redirect_uri=os.environ["REDIRECT_URI"], code_challenge_method="S256", **more)


service = session(client_id=os.environ["SERVICE_ID"], client_secret=os.environ["SERVICE_SECRET"])
with_secret = session(client_id=os.environ["BASIC_ID"], client_secret=os.environ["BASIC_SECRET"])
with_key = session(
    client_id=os.environ["RS384_ID"],
    client_secret=own,
    token_endpoint_auth_method=proof,
    revocation_endpoint_auth_method=proof,
)


def introspect(token):
    return service.introspect_token(where["introspection_endpoint"], token=token).json()


for name, app in [("with a secret", with_secret), ("with a key", with_key)]:
    verifier = "a verifier of which nobody knows 0123456789 but this app".replace(" ", "-")
    url, state = app.create_authorization_url(
        where["authorization_endpoint"], code_verifier=verifier, aud=BASE, nonce=f"nonce of {name}"
    )
    token = app.fetch_token(
        where["token_endpoint"], authorization_response=person(url), state=state, code_verifier=verifier
    )
    assert (token["patient"], token["scope"]) == ("123", SCOPE), token
    claims = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": os.environ["ISSUER"]},
        aud={"essential": True, "value": app.client_id},
        exp={"essential": True},
        nonce={"essential": True, "value": f"nonce of {name}"},
    ).validate(claims)
    assert app.get(f"{BASE}/Patient/123").json()["id"] == "123"
    assert app.get(f"{BASE}/Patient/124").status_code == 404

    first = token["access_token"]
    token = app.refresh_token(where["token_endpoint"], refresh_token=token["refresh_token"])
    assert token["access_token"] != first
    told = introspect(token["access_token"])
    assert (told["active"], told["sub"], told["client_id"]) == (True, claims["sub"], app.client_id), told
    assert app.get(f"{BASE}/Patient/123").status_code == 200

    refresh = token["refresh_token"]
    assert app.revoke_token(where["revocation_endpoint"], token=refresh).status_code == 200
    assert introspect(token["access_token"]) == {"active": False}
    assert introspect(first) == {"active": False}
    assert requests.get(
        f"{BASE}/Patient/123", headers={"authorization": f"Bearer {token['access_token']}"}, timeout=60
    ).status_code == 401
    print("ok:", name)
