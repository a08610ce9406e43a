"""Requests made up from the description of the API: none of them ends in an error of the service."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from tests.nas.service.conftest import SUBMIT, served

schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis here: pip install schemathesis")

REQUESTS = 33
"""For each operation; some have fewer that differ: five hundred in all."""


@pytest.mark.timeout(600)
def test_no_request_is_an_error_of_the_service(tmp_path):
    from schemathesis.core import NotSet

    answers: Counter[tuple[str, int]] = Counter()
    with served(tmp_path, limits={"requests": 10**9, "evaluate_seconds": 0.1}) as (client, _):
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())

        def knock(case):
            path, number = case.formatted_path, sum(answers.values())
            if number % 2 and not path.endswith("/events"):  # which would wait for the end of a search that is there
                path = path.replace(case.path_parameters.get("identity", "nobody"), there)
            body = None if isinstance(case.body, NotSet) else case.body
            response = client.request(case.method, path, params=dict(case.query or {}), json=body)
            answers[case.method, response.status_code] += 1
            assert response.status_code < 500, (case.method, path, case.body, response.text)
            if response.status_code >= 400:
                assert response.headers["content-type"] == "application/problem+json", response.text

        for number, found in enumerate(schema.get_all_operations()):
            there = client.post("/v1/searches", json={**SUBMIT, "key": str(number)}).json()["id"]
            quick = settings(
                max_examples=REQUESTS,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            quick(given(found.ok().as_strategy())(knock))()
    posts = {status: count for (method, status), count in answers.items() if method == "POST"}
    accepted = sum(count for status, count in posts.items() if status < 300)
    assert sum(answers.values()) >= 500 and accepted >= 0.05 * sum(posts.values()), answers
