"""The entry point of `python -m itin`."""

from .cli import program

if __name__ == "__main__":
    program()
