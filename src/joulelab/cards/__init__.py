"""Cards and statements of measured energy, in the formats that others ask for.

::

    results folder, measurement, emissions.csv   ->   Work   ->   Card: document, fields, left out

A field is filled from what was measured, or left out with the reason.
"""
