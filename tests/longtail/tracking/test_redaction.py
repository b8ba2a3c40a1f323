import time

import pytest

from longtail.tracking.redaction import redact

SECRET = "hunter2-S3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{SECRET}@mlflow:5000",
        f"postgresql+psycopg2://me:{SECRET}/p@rt@db:5432/mlflow",
        f"https://{SECRET}@host/path",
        f"API request failed: Authorization: Bearer {SECRET}",
        f"https://bucket/key?X-Amz-Signature={SECRET}&x=1",
        f"connect(password='{SECRET}', user='me')",
        f'{{"aws_secret_access_key": "{SECRET}"}}',
    ],
)
def test_secret_inside_a_text_is_hidden(text):
    assert SECRET not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize("name", ["password", "S3_SECRET_KEY", "api_token", "aws_access_key_id", "apiKey"])
def test_value_under_a_secret_name_is_hidden_at_any_depth(name):
    assert redact({"data": [{name: SECRET}]}) == {"data": [{name: "***"}]}


def test_everything_below_a_secret_name_is_hidden():
    assert redact({"credentials": {"user": "me", "key": SECRET}, "tokens": [SECRET]}) == {
        "credentials": "***",
        "tokens": "***",
    }


@pytest.mark.parametrize(
    "value",
    [
        "s3://bucket/prefix@2024/x",
        "sqlite:////data/mlflow.db",
        "http://mlflow:5000",
        "digits",
        3,
        0.5,
        None,
        True,
        ["crt", "tailcalib"],
        {"tokenizer": "none", "password": ""},
    ],
)
def test_harmless_values_are_unchanged(value):
    assert redact(value) == value


def test_rest_of_the_address_stays_readable():
    assert redact("http://me:pw@mlflow:5000/x") == "http://***@mlflow:5000/x"


@pytest.mark.parametrize("word", ["x", "token", "a-", "http://a"])
def test_long_text_takes_no_quadratic_time(word):
    start = time.process_time()
    redact(word * (100_000 // len(word)))
    assert time.process_time() - start < 2
