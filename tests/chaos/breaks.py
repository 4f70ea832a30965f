"""The ways in which a wire breaks, as scripts of a proxy."""

from tests.chaos.proxy import Proxy

SLOW_S = 5.0


def refuse(proxy: Proxy) -> None:
    """Nobody listens any more, and those who talked were hung up on."""
    proxy.refusing = True
    proxy.cut()


def reset(proxy: Proxy) -> None:
    """Every connection is cut, new ones are welcome."""
    proxy.cut()


def half_open(proxy: Proxy) -> None:
    """Commands arrive and are done; the answers are lost, and no connection ends."""
    proxy.to_client.becomes("drop")


def swallow(proxy: Proxy) -> None:
    """A black hole: nothing arrives anywhere, and no connection ends."""
    proxy.to_server.becomes("hold")
    proxy.to_client.becomes("hold")


def crawl(proxy: Proxy) -> None:
    proxy.to_server.becomes("pass", delay_s=SLOW_S)
