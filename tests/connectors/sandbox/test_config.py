"""The sandbox's secrets, and the settings that point a pipeline at it."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from connectors.http.server import Address
from connectors.providers.base import BadSignature, Inbound, OnTrial, Provider
from connectors.providers.peach import Peach, PeachConfig
from connectors.providers.ping import Ping, PingConfig
from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Callback, Site
from connectors.sandbox.config import (
    SandboxConfig,
    load_secrets,
    sandbox_environment,
    signing_as_configured,
    simulator_of,
)
from connectors.sandbox.delivery import signed_headers


@pytest.fixture
def config(tmp_path: Path) -> SandboxConfig:
    return SandboxConfig(
        Address("127.0.0.1", 8090),
        tmp_path,
        "http://127.0.0.1:8080/",
        load_secrets(tmp_path),
        path_tokens={"ping": "t0ken"},
    )


def test_secrets_are_generated_once_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    secrets = load_secrets(tmp_path)
    file = tmp_path / "sandbox" / "secrets.json"
    assert load_secrets(tmp_path) == secrets
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secrets.keys() == PROVIDERS.keys()
    assert secrets["truelayer"]["private_key"].startswith("-----BEGIN")


def test_secrets_of_a_new_provider_are_added(tmp_path: Path) -> None:
    before = load_secrets(tmp_path)
    file = tmp_path / "sandbox" / "secrets.json"
    file.write_text(json.dumps({name: before[name] for name in before if name != "ipint"}))
    after = load_secrets(tmp_path)
    assert after["ping"] == before["ping"]
    assert after["ipint"].keys() == before["ipint"].keys()


def test_each_account_has_secrets_and_urls_of_its_own(tmp_path: Path) -> None:
    accounts = {"ping": "ping", "ping_se": "ping"}
    secrets = load_secrets(tmp_path, accounts)
    assert secrets["ping"].keys() == secrets["ping_se"].keys()
    assert set(secrets["ping"].values()).isdisjoint(secrets["ping_se"].values())
    address = Address("127.0.0.1", 8090)
    config = SandboxConfig(address, tmp_path, "http://edge", secrets, connections=accounts)
    assert config.site("ping_se").callback_url == "http://edge/callbacks/ping_se"
    assert sandbox_environment(config, accounts) == {
        f"LINKSTATUS_{name.upper()}__{setting}": value
        for name in accounts
        for setting, value in {
            "LINKS_URL": f"http://127.0.0.1:8090/{name}/payment_links/",
            "PAYMENTS_URL": f"http://127.0.0.1:8090/{name}/payments/",
            "TENANT_ID": secrets[name]["tenant_id"],
            "API_SECRET": secrets[name]["api_secret"],
        }.items()
    }


def test_concurrent_loads_return_the_same_secrets(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(load_secrets, [tmp_path] * 8)
    assert all(secrets == first for secrets in others)


def test_path_token_is_part_of_the_callback_url(config: SandboxConfig) -> None:
    assert config.site("ping").callback_url == "http://127.0.0.1:8080/callbacks/ping/t0ken"
    assert config.site("peach").callback_url == "http://127.0.0.1:8080/callbacks/peach"
    secrets = [value for values in config.secrets.values() for value in values.values()]
    assert not any(secret in repr(config) for secret in ("t0ken", *secrets))


def fits(provider: Provider, site: Site, url: str) -> bool:
    """Return whether the provider accepts the signature of a callback from this site."""
    callback = Callback(b'{"paymentId": "1", "status": "opened"}')
    headers = signed_headers(simulator_of(provider.name), site, callback, url, 1)
    try:
        return provider.authenticate(Inbound("/", dict(headers), callback.body), None, 1)
    except OnTrial as trial:
        return trial.fits
    except BadSignature:
        return False


def test_sent_callback_is_signed_with_the_pipelines_secrets(config: SandboxConfig) -> None:
    url = "https://shop.example/callbacks/peach"
    peach = PeachConfig.model_validate({"webhook_secrets": ["mine", "old"], "webhook_url": url})
    scheme = {"signature_scheme": "hmac-sha512-base64", "signature_header": "X-Signed"}
    ping = PingConfig.model_validate({**scheme, "signing_keys": ["mine"]})
    for provider in (Peach(peach), Ping(ping)):
        sandbox_site = config.site(provider.name)
        site = signing_as_configured(config, provider.name, provider.config).site(provider.name)
        url = simulator_of(provider.name).signed_url(provider.config) or site.callback_url
        assert fits(provider, site, url)
        assert not fits(provider, sandbox_site, sandbox_site.callback_url)
    assert signing_as_configured(config, "peach", PeachConfig()) == config
