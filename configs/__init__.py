"""Pages: one file a method, each with `get_config`; `common.py` is what they share."""
