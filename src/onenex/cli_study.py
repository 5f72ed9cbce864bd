"""`onenex study`: blinded reader studies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from onenex import console
from onenex.errors import StudyError

study = typer.Typer(help="Blinded reader studies: design, read in the browser, analyse.", no_args_is_help=True)

Protocol = Annotated[Path, typer.Argument(help="The study's protocol, study.toml.")]
Study = Annotated[Path, typer.Argument(help="Folder that `onenex study create` made.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="File with the unblinding passphrase; else $ONENEX_STUDY_PASSPHRASE, else it is asked for.", show_default=False)
]


@contextmanager
def _guard(as_json: bool = False) -> Iterator[None]:
    """`console.guard`, which also says what to install."""
    with console.guard(as_json):
        try:
            yield
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("onenex"):
                raise
            raise StudyError(f"reader studies need {error.name}: pip install 'onenex[reader]'") from error


@study.command()
def example() -> None:
    """Print a protocol to start from."""
    with _guard():
        from onenex.reader.verbs import example as run

        run()


@study.command()
def check(protocol: Protocol) -> None:
    """Check a protocol and its series, and print what readers would have to do."""
    with _guard():
        from onenex.reader.verbs import check as run

        with console.progress_bar() as tell:
            run(protocol, tell=tell)


@study.command()
def size(  # noqa: PLR0913 - the options of a command
    *,
    margin: Annotated[float, typer.Option(help="How much worse would still do: grades, or a share with --only-test.")],
    sd: Annotated[float | None, typer.Option(help="Standard deviation of one reader's differences between arms, grades.", show_default=False)] = None,
    difference: Annotated[float, typer.Option(help="Expected, test less control, grades.")] = 0.0,
    equivalence: Annotated[bool, typer.Option("--equivalence", help="Neither worse nor better, by two one-sided tests.")] = False,
    only_test: Annotated[
        float | None, typer.Option(help="For sensitivity or specificity: share of cases right in the test arm alone.", show_default=False)
    ] = None,
    only_control: Annotated[float | None, typer.Option(help="Likewise in the control arm alone.", show_default=False)] = None,
    share: Annotated[float, typer.Option(help="Share of cases that count: with the disease, or without.")] = 1.0,
    alpha: Annotated[float, typer.Option(help="One-sided.")] = 0.025,
    power: Annotated[float, typer.Option(help="Wanted.")] = 0.9,
    readers: Annotated[int, typer.Option(min=1, help="Whose ratings of a case are averaged.")] = 1,
    reader_correlation: Annotated[float, typer.Option(help="Of two readers' differences on one case, 0 … 1.")] = 1.0,
    cases_per_patient: Annotated[int, typer.Option(min=1, help="Averaged too.")] = 1,
    case_correlation: Annotated[float, typer.Option(help="Of the differences of two cases of one patient, 0 … 1.")] = 1.0,
    lost: Annotated[float, typer.Option(help="Share of patients that will not be usable.")] = 0.0,
) -> None:
    """Print how many cases a study needs: ratings with --sd, sensitivity or specificity with --only-test and --only-control."""
    with _guard():
        from onenex.reader import sample_size

        if only_test is not None and only_control is not None:
            from onenex.reader.sample_size_proportions import paired_proportions

            found = paired_proportions(
                margin=margin, only_test=only_test, only_control=only_control, alpha=alpha, power=power, share=share, lost=lost
            )
        elif sd is not None:
            layout = sample_size.Layout(
                n_readers=readers,
                reader_correlation=reader_correlation,
                cases_per_patient=cases_per_patient,
                case_correlation=case_correlation,
                lost=lost,
            )
            calculate = sample_size.equivalence if equivalence else sample_size.non_inferiority
            found = calculate(margin=margin, sd=sd, difference=difference, alpha=alpha, power=power, layout=layout)
        else:
            raise typer.BadParameter("give --sd for ratings, or --only-test and --only-control for sensitivity or specificity")
        typer.echo(found.text)


@study.command()
def create(
    protocol: Protocol,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STUDY", help="Folder to make; it appears when all is done.")],
    admin: Annotated[str, typer.Option(help="Who may unblind and sees progress; not a reader.")] = "admin",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Draw the plan, seal it, write the images, and print everybody's password, once."""
    with _guard():
        from onenex.reader.verbs import make

        with console.progress_bar() as tell:
            make(protocol, output, admin=admin, passphrase_file=passphrase_file, tell=tell)


@study.command()
def reader(
    folder: Study,
    name: Annotated[str, typer.Argument(help="Name of the reader.")],
    *,
    admin: Annotated[bool, typer.Option("--admin", help="An admin's instead; one that is not there yet is added.")] = False,
) -> None:
    """Ask for a new password of a reader."""
    with _guard():
        from onenex.reader.verbs import reader as run

        run(folder, name, admin=admin)


@study.command()
def serve(
    folder: Study,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8090,
    certificate: Annotated[Path | None, typer.Option(help="PEM file, for TLS; with --key.", show_default=False)] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.", show_default=False)] = None,
) -> None:
    """Serve the readers' pages until it is stopped (Ctrl-C, SIGTERM)."""
    with _guard():
        from onenex.reader.verbs import serve as run

        run(folder, host, port, certificate=certificate, key=key)


@study.command()
def status(folder: Study, *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False) -> None:
    """Print how far everybody is, and whether the answers are as they were given. Arms stay hidden."""
    with _guard(as_json):
        from onenex.reader.verbs import status as run

        run(folder, as_json=as_json)


@study.command()
def unblind(
    folder: Study,
    *,
    by: Annotated[str | None, typer.Option(help="The admin who unblinds; the only one by default.", show_default=False)] = None,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Although presentations are unfinished; that is logged.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Open the sealed plan: no answer can be given or changed any more. Logged."""
    with _guard():
        from onenex.reader.verbs_after import unblind as run

        run(folder, by=by, incomplete=incomplete, passphrase_file=passphrase_file)


@study.command()
def analyse(
    folder: Study,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPORT", help="Folder to make.")],
    passphrase_file: PassphraseFile = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap: same seed, same report.")] = 0,
) -> None:
    """Analyse an unblinded study as its protocol said before the reading."""
    with _guard():
        from onenex.reader.verbs_after import analyse as run

        run(folder, output, passphrase_file=passphrase_file, seed=seed)


@study.command()
def export(
    folder: Study,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder to make.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write the answers of an unblinded study as CSV, findings for the R packages iMRMC, RJafroc and MRMCaov, and the plan."""
    with _guard():
        from onenex.reader.verbs_after import export as run

        run(folder, output, passphrase_file=passphrase_file)


@study.command()
def simulate(
    *,
    studies: Annotated[int, typer.Option(min=10, help="Simulated studies.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same outcome.")] = 0,
) -> None:
    """Try the statistics on simulated studies: false claims at the margin, coverage of intervals, power as planned. Ends with 1 where one fails."""
    with _guard():
        from onenex.reader.verbs_after import simulate as run

        run(studies, seed)
