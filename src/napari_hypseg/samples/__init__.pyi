from .tomogram import Tomogram as Tomogram
from .tomogram import make_tomogram as make_tomogram
from .toy import Toy as Toy
from .toy import ToyKind as ToyKind
from .toy import make_toy as make_toy
from .toy import toy_seeds as toy_seeds
