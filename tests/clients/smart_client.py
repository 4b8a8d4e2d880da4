"""SMART's own client for Python: finds everything through the capability statement, and reads with it."""

import os

from fhirclient import client
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRUnauthorizedException

from person import person

BASE = os.environ["FHIR_BASE"]


def app(**more):
    settings = {
        "api_base": BASE,
        "redirect_uri": os.environ["REDIRECT_URI"],
        "scope": "openid fhirUser offline_access patient/*.rs",
        **more,
    }
    return client.FHIRClient(settings=settings)


for name, more in [
    ("public", {"app_id": os.environ["PUBLIC_ID"]}),
    # It sends `client_id` besides the header.
    ("with a secret", {"app_id": os.environ["BASIC_ID"], "app_secret": os.environ["BASIC_SECRET"]}),
]:
    smart = app(**more)
    assert not smart.ready
    smart.prepare()
    assert smart.authorize_url.startswith(f"{os.environ['ISSUER']}/oauth/authorize?"), smart.authorize_url
    smart.handle_callback(person(smart.authorize_url))
    assert smart.ready
    assert smart.launch_context["patient"] == "123", smart.launch_context
    assert smart.patient.id == "123"
    for again in range(2):
        assert Patient.read("123", smart.server).birthDate.isostring == "1968-04-12"
        found = list(Observation.where({"patient": "123"}).perform_resources_iter(smart.server))
        assert found and all(each.subject.reference == "Patient/123" for each in found)
        try:
            Patient.read("124", smart.server)
            raise AssertionError("a chart of somebody else was read")
        # Not even that there is one.
        except FHIRNotFoundException:
            pass
        if not again:
            before = smart.server.auth.access_token
            assert smart.reauthorize()
            assert smart.server.auth.access_token != before
    smart.server.auth.access_token = "nobodys"
    try:
        Patient.read("123", smart.server)
        raise AssertionError("a chart was read with a token nobody has")
    except FHIRUnauthorizedException:
        pass
    print("ok:", name)
