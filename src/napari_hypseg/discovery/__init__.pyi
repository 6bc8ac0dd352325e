from .classes import ClassRow as ClassRow
from .classes import class_table as class_table
from .cloud import Cloud as Cloud
from .cloud import cloud_job as cloud_job
from .colours import label_colours as label_colours
from .report import write_report as write_report
from .selection import Selection as Selection
