from .classes import ClassRow as ClassRow
from .classes import class_table as class_table
from .colours import label_colours as label_colours
from .report import write_report as write_report
