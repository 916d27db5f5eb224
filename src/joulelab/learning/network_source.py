"""From what a user calls a network to its registered name and options, and back.

::

    SimpleCNN          a registered name
    vgg16              a classifier of torchvision
    mymodels:small     a function of the user's own, module:attribute
"""

from __future__ import annotations

from typing import Any

from joulelab.errors import UnknownNameError, UsageError, quoted
from joulelab.learning.networks import FACTORY, TORCHVISION, networks
from joulelab.learning.zoo import zoo
from joulelab.learning.zoo_weights import classifier_names


def network_source(text: str) -> tuple[str, dict[str, Any]]:
    """The registered network that a text means, and the options that say which it is.

    Args:
        text: a registered name, a classifier of torchvision, or ``module:attribute``.

    Raises:
        UnknownNameError: it is none of these; offers the nearest of all names.
        UsageError: half of ``module:attribute`` is missing.

    >>> network_source("SimpleCNN")
    ('SimpleCNN', {})
    >>> network_source("vgg16")
    ('torchvision', {'model': 'vgg16'})
    >>> network_source("mymodels:small")
    ('factory', {'factory': 'mymodels:small'})
    """
    if text in networks.names():
        return text, {}
    if ":" in text:
        module, _, attribute = text.partition(":")
        if not (module.strip() and attribute.strip()):
            raise UsageError(
                f"the network {quoted(text)} names no function",
                "write module:function, as in mymodels:small",
            )
        return FACTORY, {"factory": text}
    # The table answers for what it has without torchvision, which takes seconds to load.
    if text not in zoo() and text not in (known := classifier_names()):
        registered = [name for name in networks.names() if name not in (TORCHVISION, FACTORY)]
        raise UnknownNameError("network", text, [*registered, *known])
    return TORCHVISION, {"model": text}
