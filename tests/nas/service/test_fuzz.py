"""Requests made up from the description of the API: none of them ends in an error of the service.

FUZZ_REQUESTS=10000 makes more of them (tests/soak/fuzz.py).
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from tests.nas.service.conftest import SUBMIT, served

schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis here: pip install schemathesis")

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "500"))
EACH = -(-REQUESTS // 15)
"""Of an operation; some have only a few that differ."""


@pytest.mark.timeout(1800 if REQUESTS <= 500 else 0)
def test_no_request_is_an_error_of_the_service(tmp_path):
    from schemathesis.core import NotSet

    answers: Counter[tuple[str, int]] = Counter()
    with served(tmp_path, limits={"requests": 10**9, "open": 10**9, "evaluate_seconds": 0.1}) as (client, _):
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())

        def knock(case):
            path, number = case.formatted_path, sum(answers.values())
            if number % 2 and not path.endswith("/events"):  # which would wait for the end of a search that is there
                path = path.replace(case.path_parameters.get("identity", "nobody"), there)
            body, query = None if isinstance(case.body, NotSet) else case.body, dict(case.query or {})
            if number % 2 and path.endswith("/compare"):
                query["search"] = [there, before]
            response = client.request(case.method, path, params=query, json=body)
            answers[case.method, response.status_code] += 1
            assert response.status_code < 500, (case.method, path, case.body, response.text)
            if response.status_code >= 400:
                assert response.headers["content-type"] == "application/problem+json", response.text

        there = ""
        for number, found in enumerate(schema.get_all_operations()):
            before, there = there, client.post("/v1/searches", json={**SUBMIT, "key": str(number)}).json()["id"]
            quick = settings(
                max_examples=EACH,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            quick(given(found.ok().as_strategy())(knock))()
    posts = {status: count for (method, status), count in answers.items() if method == "POST"}
    accepted = sum(count for status, count in posts.items() if status < 300)
    print(f"{sum(answers.values())} requests, {accepted} of {sum(posts.values())} POSTs accepted: {dict(answers)}")
    assert sum(answers.values()) >= REQUESTS and accepted >= 0.05 * sum(posts.values()), answers
