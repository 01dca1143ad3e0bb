"""What botocore knows of the services: read as plain dicts, it tells the same, and the garbage collector skips most."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.loaders import JSONFileLoader
from botocore.regions import EndpointResolver

from asyncjobs.backends.sqs.service_models import PlainReader, sharing

DATA = Path(botocore.session.__file__).parent / "data"
SERVICES = ("dynamodb", "sqs", "s3", "sts")


def files_of(service: str) -> list[str]:
    version = max((DATA / service).iterdir())
    names = {file.name.partition(".json")[0] for file in version.iterdir()}
    return [str(version / name) for name in sorted(names)]


def session(*, ours: bool) -> Any:
    made = botocore.session.Session()
    return sharing(made) if ours else made


@pytest.mark.parametrize("path", [file for service in SERVICES for file in files_of(service)])
def test_a_file_tells_the_same_as_it_tells_botocore(path: str) -> None:
    assert PlainReader().exists(path)
    assert PlainReader().load_file(path) == JSONFileLoader().load_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert not PlainReader().exists(str(tmp_path / "missing"))
    assert PlainReader().load_file(str(tmp_path / "missing")) is None


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1", "ap-new-9"])
def test_a_service_has_the_address_that_botocore_gives_it(service: str, region: str) -> None:
    def address(made: Any) -> str:
        return made.create_client(service, region, aws_access_key_id="x", aws_secret_access_key="x").meta.endpoint_url

    assert address(session(ours=True)) == address(session(ours=False))


@pytest.mark.parametrize("service", [*SERVICES, "portal.sso", "oidc"])
def test_the_list_of_addresses_has_each_service_that_is_called_and_no_other(service: str) -> None:
    def found(made: Any) -> list[Any]:
        resolver: Any = EndpointResolver(made.get_component("data_loader").load_data("endpoints"))
        regions = resolver.get_available_endpoints(service, allow_non_regional=True)
        return [resolver.construct_endpoint(service, region) for region in regions]

    assert found(session(ours=True)) == found(session(ours=False)) != []
    loader = session(ours=True).get_component("data_loader")
    assert "ec2" not in loader.load_data("endpoints")["partitions"][0]["services"]


def test_most_of_it_is_not_visited_by_the_garbage_collector() -> None:
    def visited(reader: Any) -> int:
        read = [reader.load_file(file) for file in [str(DATA / "endpoints"), *files_of("dynamodb"), *files_of("sqs")]]
        gc.collect()
        return sum(map(gc.is_tracked, walked(read)))

    assert visited(PlainReader()) < visited(JSONFileLoader()) / 4


def walked(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *[each for one in inner for each in walked(one)]]
