from .session import FORMATS as FORMATS
from .session import Session as Session
