import pytest

pytest.register_assert_rewrite("tests.mixer_contract")
