"""Messages generated from the protos; see `generate.py`."""
