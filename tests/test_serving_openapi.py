"""The OpenAPI document is true: requests made from it get no 500 and nothing that it does not list (schemathesis)."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tiny_server import client_of, tiny_analyzer

from hybrid_mmsa.serving import create_app


def not_our_mistake(context, response, case):
    """A request may come too late or be one too many; that it breaks the server is never its fault."""
    assert response.status_code != 500


CHECKS = [not_our_mistake, status_code_conformance, content_type_conformance, response_schema_conformance]
APP = create_app(tiny_analyzer(lambda _: "neutral"), hosts=())
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


@schema.parametrize()
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
def test_requests_from_the_document(case):
    case.call_and_validate(checks=CHECKS)


def test_the_document_names_what_is_sent():
    with client_of(tiny_analyzer()) as client:
        document = client.get("/openapi.json").json()
    body = document["paths"]["/v1/analyze"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    schemas = document["components"]["schemas"]
    assert {"Analysis", "AnalyzeBody", "BatchAnswer", "BatchBody", "Job", "PostBody", "ProblemBody"} <= set(schemas)
    assert schemas["AnalyzeBody"]["examples"]
    references = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "#/components/schemas/')[1:]}
    assert references <= set(schemas)


@pytest.mark.parametrize("example", range(2))
def test_the_documents_examples_are_answered(example):
    with client_of(tiny_analyzer()) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        assert client.post("/v1/analyze", json=schemas["AnalyzeBody"]["examples"][example]).status_code == 200
        assert client.post("/v1/analyze/batch", json=schemas["BatchBody"]["examples"][0]).status_code == 200
