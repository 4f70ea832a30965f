"""Files of certificates: what can be used is, and what cannot is told by the setting's name."""

from pathlib import Path

import pytest

from tests.support.certificates import Authority
from worker.errors import Misconfigured
from worker.settings.certificates import context, not_accepted


def test_a_key_with_a_password_is_opened(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client", key_password="hunter2")  # noqa: S106 - made for this test
    made = context("kafka", authority.file, client.cert, client.key, "hunter2")
    assert [each["subject"] for each in made.get_ca_certs()] != []


@pytest.mark.parametrize("given", ["", "wrong-one"])
def test_a_password_that_does_not_open_the_key_is_refused_and_nobody_is_asked_for_one(
    tmp_path: Path, given: str
) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client", key_password="hunter2")  # noqa: S106 - made for this test
    with pytest.raises(
        Misconfigured, match=r"KAFKA_KEY_FILE .* the password does not open .*KEY_PASSWORD"
    ) as no:
        context("kafka", authority.file, client.cert, client.key, given)
    assert not given or given not in str(no.value)


def test_another_certificates_key_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(
        Misconfigured, match=r"SEVENP_KAFKA_CERT_FILE .*one-cert.* the key is not the certificate's"
    ):
        context("kafka", authority.file, one.cert, other.key)


def test_a_file_that_is_absent_or_no_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"SEVENP_MONGODB_CA_FILE .*absent cannot be used: No such file"):
        context("mongodb", tmp_path / "absent")
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(
        Misconfigured, match=r"SEVENP_KAFKA_CA_FILE .*text cannot be used: it holds no certificate"
    ):
        context("kafka", tmp_path / "text")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("certificate has expired", "needs a new one"),
        ("certificate is not yet valid", "clocks"),
        ("Hostname mismatch, certificate is not valid for 'a'.", "SEVENP_KAFKA_BOOTSTRAP_SERVERS"),
        ("unable to get local issuer certificate", "SEVENP_KAFKA_CA_FILE"),
    ],
)
def test_each_reason_has_its_advice(reason: str, advice: str) -> None:
    assert advice in str(not_accepted("kafka", "a:1", reason))
