"""No tracker: nothing is started or imported."""


class NoTracker:
    """Sends nothing. It has no options and none of the methods of a tracker."""

    package: str | None = None
    extra: str | None = None
