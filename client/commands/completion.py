"""`completion`: what a shell needs to complete commands, options and paths."""

from client.commands.options import Subparsers, command
from client.commands.running import Context

_DESCRIPTION = """\
Print what the shell has to evaluate to complete commands, options and paths of eft-client:

  eval "$(eft-client completion bash)"      in ~/.bashrc
  eval "$(eft-client completion zsh)"       in ~/.zshrc, after compinit"""


def add(commands: Subparsers) -> None:
    """Adds `completion bash|zsh`."""
    parser = command(
        commands, "completion", "print the completion snippet for a shell", _DESCRIPTION
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    parser.set_defaults(run=run)


def run(context: Context) -> None:
    """Prints the snippet, whatever `--json` says: it is for a shell."""
    from argcomplete.shell_integration import shellcode

    from client.report import write_out

    write_out(shellcode(["eft-client"], shell=context.arguments.shell))
