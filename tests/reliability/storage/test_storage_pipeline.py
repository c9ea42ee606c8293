"""All stages over an S3 that fails now and then, or for good: the same content as without a fault."""

from typing import Any

import pytest

from forge_resources.s3 import S3Config, S3Uri

pytestmark = pytest.mark.long

QUOTED = "the-token-that-the-server-repeats"


@pytest.fixture
def project(new_project: Any, faulty_s3: Any, s3_bucket: S3Uri) -> Any:
    """Its lake is on S3 behind the proxy, its photos on disk."""
    settings: S3Config = faulty_s3.config
    new_project.configure(lake=f"{s3_bucket}/lake", s3=settings.model_dump(mode="json"))
    return new_project


def test_a_run_whose_credentials_expire_fails_clearly_and_a_run_with_new_ones_over_a_bad_line_completes_it(
    project: Any, untouched: Any, faulty_s3: Any, s3_credentials: str
) -> None:
    faulty_s3.fail("status", "^(PUT|DELETE) .*/(detections|depth_maps)/", status=403, code="ExpiredToken")
    failed = project.forge("run", "--shard", "s00000")
    assert failed.exit_code == 1
    assert "the credentials have expired (ExpiredToken): log in again or renew them" in " ".join(failed.output.split())
    assert QUOTED not in failed.output
    assert s3_credentials not in failed.output
    faulty_s3.heal()
    expected = untouched.hashes()
    made = project.hashes()
    assert made.items() <= expected.items()
    assert {table for table, _ in made} == {"raw_images", "rejected_images"}

    faulty_s3.fail("status", ".", every=31, status=503, code="SlowDown")
    faulty_s3.fail("status", ".", every=37, status=500, code="InternalError")
    faulty_s3.fail("refuse", ".", every=41)
    faulty_s3.fail("lose", ".", every=43)
    faulty_s3.fail("cut", "^GET", every=47)
    done = project.forge("run")
    assert done.exit_code == 0, done.output
    assert len(faulty_s3.struck) > 20
    faulty_s3.heal()
    assert project.hashes() == expected
    assert project.forge("fsck").exit_code == 0
