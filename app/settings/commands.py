"""`luthier token`: keep or delete the token of a service outside. It is typed at a prompt, never an argument.

luthier token keep hub            asks for it, shows nothing of it
echo $TOKEN | luthier token keep hub
luthier token forget hub
"""

import sys
from typing import Annotated

import typer

from app import client, show
from studio.paths import workspace

Service = Annotated[str, typer.Argument(help="Whose token: hub.")]
app = typer.Typer(help="Tokens of services outside.", no_args_is_help=True)


@app.command()
def keep(name: Service = "hub") -> None:
    """Keep a token in the workspace's file `secrets`, which only you can read."""
    if sys.stdin.isatty():
        value = typer.prompt(show.sentence("settings.token.ask"), hide_input=True, err=True)
    else:
        value = sys.stdin.readline()
    client.call(workspace(), "keep_token", name=name, value=value.strip())
    show.note("settings.token.kept")


@app.command()
def forget(name: Service = "hub") -> None:
    """Delete a token."""
    client.call(workspace(), "forget_token", name=name)
    show.note("settings.token.forgotten")
