"""The entry point of `python -m itin`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="itin")
