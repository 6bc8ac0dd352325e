from .files import SESSION_FILE as SESSION_FILE
from .files import read_session as read_session
from .files import reread_volume as reread_volume
from .session import FORMATS as FORMATS
from .session import Session as Session
from .view import keep_partition as keep_partition
from .view import kept_partition as kept_partition
