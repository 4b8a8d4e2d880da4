"""requests-oauthlib, which refuses a grant whose scopes read otherwise than those it asked for."""

import os

from requests_oauthlib import OAuth2Session

from person import person

# Plain HTTP, on this machine.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
ISSUER, BASE = os.environ["ISSUER"], os.environ["FHIR_BASE"]
# In the words of older apps, which have to come back as they are.
SCOPE = "openid fhirUser launch/patient offline_access patient/Patient.read patient/Observation.rs"

for name, client, secret in [
    ("public", os.environ["PUBLIC_ID"], None),
    ("with a secret", os.environ["BASIC_ID"], os.environ["BASIC_SECRET"]),
]:
    app = OAuth2Session(client, scope=SCOPE.split(), redirect_uri=os.environ["REDIRECT_URI"], pkce="S256")
    url, _ = app.authorization_url(f"{ISSUER}/oauth/authorize", aud=BASE)
    proof = {"client_secret": secret, "include_client_id": False} if secret else {"include_client_id": True}
    # It takes no plain HTTP in an answer, wherever the app lives.
    token = app.fetch_token(f"{ISSUER}/oauth/token", authorization_response=person(url), **proof)
    assert (token["patient"], token["token_type"]) == ("123", "Bearer"), token
    assert app.get(f"{BASE}/Patient/123").json()["id"] == "123"
    assert app.get(f"{BASE}/Patient/124").status_code == 404
    more = {"auth": (client, secret)} if secret else {"client_id": client}
    renewed = app.refresh_token(f"{ISSUER}/oauth/token", refresh_token=token["refresh_token"], **more)
    assert renewed["access_token"] != token["access_token"]
    assert app.get(f"{BASE}/Patient/123").status_code == 200
    print("ok:", name)
