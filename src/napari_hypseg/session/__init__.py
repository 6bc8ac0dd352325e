"""The one state: a tomogram with its models, map, proposals and classes, kept in a folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
