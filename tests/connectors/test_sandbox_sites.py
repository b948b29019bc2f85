"""The sandbox's secrets and the settings that point at it."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from connectors.peach import Peach, PeachConfig
from connectors.ping import Ping, PingConfig
from connectors.process import Address
from connectors.provider import BadSignature, Inbound
from connectors.registry import PROVIDERS
from connectors.sandbox.deliver import signed_headers
from connectors.sandbox.simulator import Callback
from connectors.sandbox.sites import (
    SandboxConfig,
    load_secrets,
    sandbox_environment,
    sandbox_of,
    signing_as_configured,
)


def test_secrets_are_made_once_and_kept_to_the_owner(tmp_path: Path) -> None:
    secrets = load_secrets(tmp_path)
    kept = tmp_path / "sandbox" / "secrets.json"
    assert load_secrets(tmp_path) == secrets
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert secrets.by_provider.keys() == PROVIDERS.keys()
    assert secrets.by_provider["truelayer"]["private_key"].startswith("-----BEGIN")
    for values in secrets.by_provider.values():
        assert not any(value in repr(secrets) for value in values.values())


def test_secrets_of_a_new_provider_are_added(tmp_path: Path) -> None:
    before = load_secrets(tmp_path).by_provider
    kept = tmp_path / "sandbox" / "secrets.json"
    kept.write_text(json.dumps({name: before[name] for name in before if name != "ipint"}))
    after = load_secrets(tmp_path).by_provider
    assert after["ping"] == before["ping"]
    assert after["ipint"].keys() == before["ipint"].keys()


def test_all_who_load_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(load_secrets, [tmp_path] * 8))
    assert all(one == loaded[0] for one in loaded)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_environment_configures_each_provider(provider: str, tmp_path: Path) -> None:
    config = SandboxConfig(
        Address("127.0.0.1", 8090), tmp_path, "http://127.0.0.1:8080", load_secrets(tmp_path)
    )
    prefix = f"LINKSTATUS_{provider.upper()}__"
    environment = sandbox_environment(config, [provider])
    assert all(name.startswith(prefix) for name in environment)
    values = {name.removeprefix(prefix).lower(): value for name, value in environment.items()}
    known = PROVIDERS[provider].Config.model_fields.keys()
    assert values.keys() <= known
    secrets = values.pop("webhook_secrets", None)
    parsed = {"webhook_secrets": json.loads(secrets)} if secrets else {}
    built = PROVIDERS[provider](PROVIDERS[provider].Config.model_validate(values | parsed))
    assert built.can_look_up()


def test_a_path_token_is_part_of_the_callback_url(tmp_path: Path) -> None:
    config = SandboxConfig(
        Address("127.0.0.1", 8090),
        tmp_path,
        "http://127.0.0.1:8080/",
        load_secrets(tmp_path),
        path_tokens={"ping": "t0ken"},
    )
    assert config.site("ping").callback_url == "http://127.0.0.1:8080/callbacks/ping/t0ken"
    assert config.site("peach").callback_url == "http://127.0.0.1:8080/callbacks/peach"
    assert "t0ken" not in repr(config)


def test_what_is_sent_by_hand_is_signed_with_the_secrets_the_pipeline_has(tmp_path: Path) -> None:
    config = SandboxConfig(Address("127.0.0.1", 1), tmp_path, "http://edge", load_secrets(tmp_path))
    url = "https://shop.example/callbacks/peach"
    peach = PeachConfig.model_validate({"webhook_secrets": ["mine", "old"], "webhook_url": url})
    told = {"signature_scheme": "hmac-sha512-base64", "signature_header": "X-Signed"}
    ping = PingConfig.model_validate({**told, "signing_keys": ["mine"]})
    for provider in (Peach(peach), Ping(ping)):
        mine = signing_as_configured(config, provider.name, provider.config)
        callback = Callback(b'{"paymentId": "1", "status": "opened"}')
        sandbox, site = sandbox_of(provider.name), mine.site(provider.name)
        signed = sandbox.signed_url(provider.config) or site.callback_url
        headers = signed_headers(sandbox, site, callback, signed, 1)
        inbound = Inbound("/", dict(headers), callback.body)
        assert provider.authenticate(inbound, None, 1) is (provider.name == "peach")
        theirs = config.site(provider.name)
        headers = signed_headers(sandbox, theirs, callback, theirs.callback_url, 1)
        with pytest.raises(BadSignature):
            provider.authenticate(Inbound("/", dict(headers), callback.body), None, 1)
    assert signing_as_configured(config, "peach", PeachConfig()) == config
