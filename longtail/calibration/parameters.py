"""An estimator's parameters as scikit-learn expects them, without importing scikit-learn."""

import inspect
from typing import Any, Self

from longtail.errors import InputError


class Parameters:
    """Parameters by name: those of the class's `__init__`, which keeps each as an attribute of the same name."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, as scikit-learn's `clone` and grid searches expect.

        Args:
            deep: Part of scikit-learn's signature; there are no nested estimators.

        Returns:
            The parameters as they were given.
        """
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **parameters: Any) -> Self:
        """Change parameters by name.

        Args:
            **parameters: Names and new values.

        Returns:
            The estimator itself.

        Raises:
            InputError: If a name is not a parameter.
        """
        known = list(inspect.signature(type(self)).parameters)
        for name, value in parameters.items():
            if name not in known:
                raise InputError(
                    f"{name!r} is not a parameter of {type(self).__name__}: choose from {', '.join(known)}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({settings})"
