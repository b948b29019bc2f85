"""Whether an address is this machine and nothing else: what all rules of access begin with."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or a name, reaches only this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
