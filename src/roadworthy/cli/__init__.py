"""The command line: one thin file a verb."""

from __future__ import annotations

import io
import logging
import os
import sys

import typer

from roadworthy.cli import (
    advise,
    deploy,
    feedback,
    image,
    init,
    keys,
    launch,
    models,
    monitor,
    package,
    pipeline,
    plan_capacity,
    predict,
    prepare,
    retrain,
    serve,
    test,
    train,
)
from roadworthy.cli.output import print_error
from roadworthy.errors import OutsideError, RoadworthyError

app = typer.Typer(
    name="roadworthy",
    help="From a table to a prediction service you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("launch")(launch.launch)
app.command("init")(init.init)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("test")(test.test)
app.command("package")(package.package)
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)
app.command("feedback")(feedback.feedback)
app.command("advise")(advise.advise)
app.command("pipeline")(pipeline.pipeline)
app.command("retrain")(retrain.retrain)
app.command("plan-capacity")(plan_capacity.plan_capacity)
app.add_typer(models.app, name="models")
app.add_typer(image.app, name="image")
app.add_typer(keys.app, name="keys")
app.add_typer(monitor.app, name="monitor")
app.add_typer(deploy.app, name="deploy")


def _version(wanted: bool) -> None:
    if wanted:
        from roadworthy import __version__

        typer.echo(f"roadworthy {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """From a table to a prediction service you can trust."""


_EXTRAS = {
    "boto3": "aws", "botocore": "aws", "kubernetes": "kubernetes", "obstore": "registry",
    "optuna": "optuna", "psycopg": "registry", "pyarrow": "arrow", "ray": "ray",
    "skl2onnx": "exchange", "skops": "exchange", "sqlalchemy": "registry", "yaml": "pipeline",
}  # fmt: skip
_DEPLOYING = ("polars", "scipy", "sqlalchemy")
_MONITORING = ("lightgbm", *_DEPLOYING)
"""What brings a library that is not there; others come with training."""


def _extra(library: str, verb: list[str]) -> str:
    if library in _MONITORING and verb in (["monitor"], ["advise"], ["feedback"]):
        return "monitor"
    if library in _DEPLOYING and verb == ["deploy"]:
        return "deploy"
    return _EXTRAS.get(library, "train")


def main() -> None:
    """Run the command line; every known error ends in its message and its exit code."""
    # it prints every way to sign in that it tried in vain, on top of the error that says so
    logging.getLogger("azure.identity").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="replace")  # a letter that it has not is no reason to fail
    try:
        app(prog_name="roadworthy")
    except RoadworthyError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("roadworthy"):
            raise
        missing = OutsideError(
            f"this verb needs {error.name!r}, which is not installed",
            fix=f"pip install 'roadworthy[{_extra(error.name or '', sys.argv[1:2])}]'",
        )
        print_error(missing, as_json="--json" in sys.argv)
        sys.exit(missing.exit_code)
    except MemoryError:
        short = OutsideError("not enough memory", fix="use a larger machine or fewer rows")
        print_error(short, as_json="--json" in sys.argv)
        sys.exit(short.exit_code)
    except Exception as error:
        if "ROADWORTHY_DEBUG" in os.environ:
            raise
        fault = OutsideError(
            f"a fault in Roadworthy itself: {type(error).__name__}",
            fix="run again with ROADWORTHY_DEBUG=1 and report what it prints",
        )
        print_error(fault, as_json="--json" in sys.argv)
        sys.exit(fault.exit_code)
