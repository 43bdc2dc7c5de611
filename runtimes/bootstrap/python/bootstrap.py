"""Entry point of the Python runtime: `python3 /var/runtime/bootstrap.py`, with the call stream as descriptor 3."""

from warren_runtime import main

# The guard keeps `multiprocessing` workers, which import this file again, from serving calls themselves.
if __name__ == "__main__":
    main.run()
