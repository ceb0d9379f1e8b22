"""Pages: one file per method, each with `get_config`; `common.py` holds what they share."""
