"""Units of length as files spell them, in angstrom."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["angstroms", "in_angstrom"]

# Spellings after NFKC and lower case, so the micro sign is the Greek mu and the angstrom sign is å.
_SPELLINGS = {
    1e-2: ("pm", "picometer", "picometre"),
    1.0: ("å", "a", "angstrom", "ångstrom", "ångström", "ang"),
    1e1: ("nm", "nanometer", "nanometre"),
    1e4: ("μm", "um", "micron", "micrometer", "micrometre"),
    1e7: ("mm", "millimeter", "millimetre"),
    1e8: ("cm", "centimeter", "centimetre"),
    1e10: ("m", "meter", "metre"),
    2.54e8: ("inch", "in", '"'),
}
_ANGSTROMS = {name: value for value, names in _SPELLINGS.items() for name in names}


def angstroms(unit: str) -> float | None:
    r"""Length of a unit in angstrom; None if it is no known unit of length.

    Parameters
    ----------
    unit : str
        Symbol or name; plurals, both micro signs and ImageJ's escapes are understood.

    Examples
    --------
    >>> angstroms("nm"), angstroms("microns"), angstroms("\\u00B5m"), angstroms("pixel")
    (10.0, 10000.0, 10000.0, None)
    """
    for escape, sign in (("\\u00b5", "μ"), ("\\u03bc", "μ"), ("\\u00c5", "å")):
        unit = re.sub(re.escape(escape), sign, unit, flags=re.IGNORECASE)
    name = unicodedata.normalize("NFKC", unit).strip().lower()
    return _ANGSTROMS.get(name, _ANGSTROMS.get(name.removesuffix("s")))


def in_angstrom(length: float, unit: float) -> float:
    """A length in angstrom, without the last digit's noise of a change of unit.

    Parameters
    ----------
    length : float
        Length as the file gives it; a float32 stands for its shortest decimal.
    unit : float
        The unit in angstrom.

    Examples
    --------
    >>> in_angstrom(0.57, 10.0), 0.57 * 10.0
    (5.7, 5.699999999999999)
    """
    return float(f"{float(str(length)) * unit:.15g}")
