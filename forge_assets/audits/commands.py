"""The commands `forge audit` and `forge sql`: questions to the lake."""

from enum import StrEnum
from typing import Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

app = typer.Typer()


class Layout(StrEnum):
    """How an audit is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


@app.command(epilog="Examples: `forge audit`; `forge audit drop_reasons`; `forge audit task_balance --layout json`")
def audit(
    name: Annotated[list[str] | None, typer.Argument(help="Audits to run; default, all.")] = None,
    config: ConfigFile = None,
    layout: Annotated[Layout, typer.Option(help="How to print.")] = Layout.table,
) -> None:
    """Ask the lake the questions in forge_assets/audits/*.sql: task balance, yield, drop reasons and more."""
    with clear_errors():
        from forge_assets.audits.runner import audit_names, audit_question, run_audit
        from forge_assets.audits.text import as_text
        from forge_assets.tables import SCHEMAS
        from forge_resources.config import load_config
        from forge_resources.lake import Lake
        from forge_resources.warehouse import Warehouse

        settings = load_config(config_file(config))
        with Warehouse(Lake(settings.lake, settings.s3), SCHEMAS) as warehouse:
            for chosen in name or audit_names():
                rows = run_audit(warehouse, chosen, settings.quotas)
                if layout is Layout.table:
                    from forge_assets import terminal

                    terminal.console.print(terminal.table_of(rows, f"{chosen}: {audit_question(chosen)}"))
                else:
                    typer.echo(as_text(rows, layout.value))
