"""``python -m nanostep`` is the command ``nanostep``."""

from nanostep.cli import main

main(prog_name="nanostep")
