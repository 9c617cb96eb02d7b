"""``weldgate serve``: one gateway in the foreground."""

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from gateway.app import serve as serve_gateway
from gateway.cli.console import reporting_errors
from gateway.errors import WeldGateError
from gateway.observe import logs
from gateway.scribe import scribe
from gateway.settings import Settings, load_settings

app = typer.Typer(add_completion=False)


def _help(name: str) -> str:
    return str(Settings.model_fields[name].description)


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help=_help("config"))] = None,
    broker: Annotated[str | None, typer.Option(help=_help("broker"))] = None,
    broker_ca: Annotated[Path | None, typer.Option(help=_help("broker_ca"))] = None,
    broker_cert: Annotated[Path | None, typer.Option(help=_help("broker_cert"))] = None,
    broker_key: Annotated[Path | None, typer.Option(help=_help("broker_key"))] = None,
    mqtt: Annotated[str | None, typer.Option(help=_help("mqtt"))] = None,
    database: Annotated[str | None, typer.Option(help=_help("database"))] = None,
    http: Annotated[str | None, typer.Option(help=_help("http"))] = None,
    address: Annotated[str | None, typer.Option(help=_help("address"))] = None,
    proxies: Annotated[str | None, typer.Option(help=_help("proxies"))] = None,
    oidc_issuer: Annotated[str | None, typer.Option(help=_help("oidc_issuer"))] = None,
    oidc_client_id: Annotated[str | None, typer.Option(help=_help("oidc_client_id"))] = None,
    oidc_client_secret: Annotated[Path | None, typer.Option(help=_help("oidc_client_secret"))] = None,
    oidc_claim: Annotated[str | None, typer.Option(help=_help("oidc_claim"))] = None,
    registry: Annotated[Path | None, typer.Option(help=_help("registry"))] = None,
    policy: Annotated[Path | None, typer.Option(help=_help("policy"))] = None,
    keys: Annotated[Path | None, typer.Option(help=_help("keys"))] = None,
    instance: Annotated[str | None, typer.Option(help=_help("instance"))] = None,
    accept_clock: Annotated[bool | None, typer.Option("--accept-clock", help=_help("accept_clock"))] = None,
    log_level: Annotated[str | None, typer.Option(help=_help("log_level"))] = None,
) -> None:
    """Run the gateway until SIGTERM: then it takes no new work, answers what is in flight and exits."""
    with reporting_errors():
        settings = load_settings(
            config=config,
            broker=broker,
            broker_ca=broker_ca,
            broker_cert=broker_cert,
            broker_key=broker_key,
            mqtt=mqtt,
            database=database,
            http=http,
            address=address,
            proxies=proxies,
            oidc_issuer=oidc_issuer,
            oidc_client_id=oidc_client_id,
            oidc_client_secret=oidc_client_secret,
            oidc_claim=oidc_claim,
            registry=registry,
            policy=policy,
            keys=keys,
            instance=instance,
            accept_clock=accept_clock,
            log_level=log_level,
        )
        logs.configure(settings.log_level)
        try:
            with scribe(settings.database, settings.keys) as sock:
                uvloop.run(serve_gateway(settings, sock))
        except* WeldGateError as group:
            raise _first(group) from None


def _first(group: BaseExceptionGroup[WeldGateError]) -> WeldGateError:
    """What a person has to read of a group that several tasks raised together."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
