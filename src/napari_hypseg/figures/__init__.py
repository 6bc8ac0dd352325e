"""Drawn once, for screen and paper: the disk, the report, colours, tables of a granularity."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
